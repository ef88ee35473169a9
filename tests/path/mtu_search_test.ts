import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import { type MtuInput, type MtuOutput, MtuSearch, type MtuState } from "../../src/path/mod.ts";
import { codecs, freshProbe, PEER, probesIn, randomBytes, replyTo, STRANGER, tell } from "./kit.ts";

const { ours, theirs } = codecs();
const path = { socket: 0, remote: PEER };
const RTT = 40;

function create(limit?: number): MtuSearch {
  return new MtuSearch({
    codec: ours,
    random: randomBytes(),
    ...(limit !== undefined && { limit }),
  });
}

/** Runs to `end` over a path that carries `carries` bytes; with `busy`, the tunnel talks all the time. */
function runTo(
  search: MtuSearch,
  end: number,
  options: { from: number; carries: number; busy?: boolean; first?: MtuOutput[] },
) {
  const told: { at: number; output: MtuOutput }[] = [];
  const replies: { at: number; input: MtuInput }[] = [];
  let sent = 0;
  const take = (outputs: readonly MtuOutput[], now: number) => {
    for (const output of outputs) {
      if (output.type !== "send") told.push({ at: now, output });
      const [probe] = probesIn([output], theirs);
      if (!probe) continue;
      sent++;
      if (probe.size > options.carries) continue;
      const { socket, to: from } = output as Extract<MtuOutput, { type: "send" }>;
      replies.push({
        at: now + RTT,
        input: { type: "reply", reply: replyTo(probe), socket, from },
      });
    }
  };
  take(options.first ?? [], options.from);
  let talk = options.busy ? options.from : Infinity;
  for (let turns = 0;; turns++) {
    assert.ok(turns < 100_000, "runs hot");
    const due = Math.min(search.deadline() ?? Infinity, replies[0]?.at ?? Infinity, talk);
    if (due > end) return { told, sent, mtus: mtusOf(told) };
    if (due === talk) {
      talk += 100;
      take(tell(search, { type: "traffic" }, due), due);
      continue;
    }
    const reply = replies[0]?.at === due ? replies.shift() : undefined;
    take(tell(search, reply?.input ?? { type: "time" }, due), due);
  }
}

function mtusOf(told: { output: MtuOutput }[]): number[] {
  return told.flatMap(({ output }) => output.type === "mtu" ? [output.mtu] : []);
}

function use(search: MtuSearch, proven = 1200, now = 0): MtuOutput[] {
  return tell(search, { type: "use", path, rtt: RTT, proven }, now);
}

function inState(name: MtuState["name"]): { search: MtuSearch; now: number } {
  const search = create();
  if (name === "unused") return { search, now: 0 };
  const first = use(search);
  if (name === "searching") return { search, now: 1 };
  runTo(search, 1000, { from: 0, carries: 1472, first });
  if (name === "settled") return { search, now: 1000 };
  runTo(search, 1700, { from: 1000, carries: 0, busy: true });
  return { search, now: 1700 };
}

const EVENTS: Record<string, MtuInput> = {
  use: { type: "use", path, rtt: RTT, proven: 1200 },
  useWhole: { type: "use", path, rtt: RTT, proven: 1472 },
  release: { type: "release" },
  traffic: { type: "traffic" },
  unaskedReply: { type: "reply", reply: replyTo(freshProbe(1472)), socket: 0, from: PEER },
  time: { type: "time" },
};

/** State × event: where it goes, where not to itself. */
const MOVES: Record<MtuState["name"], Partial<Record<string, MtuState["name"]>>> = {
  unused: { use: "searching", useWhole: "settled" },
  searching: { useWhole: "settled", release: "unused" },
  settled: { use: "searching", release: "unused" },
  verifying: { use: "searching", useWhole: "settled", release: "unused" },
};

for (const state of Object.keys(MOVES) as MtuState["name"][]) {
  for (const [event, input] of Object.entries(EVENTS)) {
    const next = MOVES[state][event] ?? state;
    Deno.test(`MtuSearch does go from ${state} by ${event} to ${next}`, () => {
      const { search, now } = inState(state);
      assert.equal(search.state.name, state);
      tell(search, input, now);
      assert.equal(search.state.name, next);
      const deadline = search.deadline();
      assert.equal(deadline === undefined, next === "unused");
      assert.ok(deadline === undefined || deadline > now, `deadline ${deadline} at ${now}`);
    });
  }
}

for (const [carries, wanted] of [[1200, 1200], [1300, 1280], [1452, 1452], [1472, 1472]] as const) {
  Deno.test(`MtuSearch does find ${wanted} on a path that carries ${carries}, in one round trip`, () => {
    const search = create();
    const { told } = runTo(search, 2000, { from: 0, carries, first: use(search) });
    const last = told.at(-1);
    assert.equal(last?.output.type === "mtu" ? last.output.mtu : 1200, wanted);
    assert.ok(told.every(({ at }) => at <= RTT));
    assert.equal(search.state.name, "settled");
  });
}

Deno.test("MtuSearch does go on to jumbo sizes where the limit allows, and never beyond it", () => {
  for (
    const [limit, carries, wanted] of [[8952, 9000, 8952], [16_000, 8972, 8972], [
      4000,
      9000,
      4000,
    ]] as const
  ) {
    const search = create(limit);
    const { mtus } = runTo(search, 3000, { from: 0, carries, first: use(search) });
    assert.equal(mtus.at(-1), wanted);
    assert.ok(Math.max(...mtus) <= limit);
  }
});

Deno.test("MtuSearch does try IPv6 only up to what Ethernet leaves it", () => {
  const search = create();
  const v6 = { socket: 0, remote: addressOf("2001:db8::1", 1) };
  const first = tell(search, { type: "use", path: v6, rtt: RTT, proven: 1200 }, 0);
  assert.equal(Math.max(...probesIn(first, theirs).map(({ size }) => size)), 1452);
  const { mtus } = runTo(search, 1000, { from: 0, carries: 1472, first });
  assert.equal(mtus.at(-1), 1452);
});

Deno.test("MtuSearch does ask again for sizes lost on the way, three times at most", () => {
  const search = create();
  const { sent } = runTo(search, 5000, { from: 0, carries: 1200, first: use(search) });
  assert.equal(sent, 6 * 3);
});

Deno.test("MtuSearch does shrink in about a second when full-size packets stop arriving", () => {
  const { search, now } = inState("settled");
  const { told, mtus } = runTo(search, now + 5000, { from: now, carries: 1400, busy: true });
  assert.equal(mtus[0], 1200);
  assert.ok(told[0]!.at - now <= 1200, `after ${told[0]!.at - now} ms`);
  assert.equal(mtus.at(-1), 1392);
});

Deno.test("MtuSearch does not shrink for silence altogether: that is the monitor's business", () => {
  const { search, now } = inState("settled");
  const { told, sent } = runTo(search, now + 60_000, { from: now, carries: 0, busy: true });
  assert.deepEqual(told, []);
  assert.ok(sent < 300, `${sent} probes in a minute of silence`);
});

Deno.test("MtuSearch does call a path unfit that carries small packets only", () => {
  const { search, now } = inState("settled");
  const { told } = runTo(search, now + 5000, { from: now, carries: 1000, busy: true });
  assert.deepEqual(told.map(({ output }) => output.type), ["unfit"]);
});

Deno.test("MtuSearch does try to grow again after ten minutes, busy or not", () => {
  for (const busy of [false, true]) {
    const search = create();
    const first = use(search);
    runTo(search, 10_000, { from: 0, carries: 1300, first, busy });
    const { mtus } = runTo(search, 700_000, { from: 10_000, carries: 1472, busy });
    assert.equal(mtus.at(-1), 1472, `busy: ${busy}`);
  }
});

Deno.test("MtuSearch does say nothing on an idle path", () => {
  const { search, now } = inState("settled");
  const { sent } = runTo(search, now + 500_000, { from: now, carries: 1472 });
  assert.equal(sent, 0);
});

Deno.test("MtuSearch does not believe answers from elsewhere", () => {
  const search = create();
  const probes = probesIn(use(search), theirs);
  for (const probe of probes) {
    const reply = replyTo(probe);
    assert.deepEqual(tell(search, { type: "reply", reply, socket: 0, from: STRANGER }, 40), []);
  }
});

Deno.test("MtuSearch does withstand any sequence of inputs", () => {
  const step = fc.tuple(
    fc.constantFrom(...Object.keys(EVENTS)),
    fc.integer({ min: 0, max: 5000 }),
    fc.constantFrom(0, 500, 1200, 1300, 1472),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const search = create();
    let now = 0;
    for (const [event, wait, carries] of steps) {
      const { mtus } = runTo(search, now + wait, { from: now, carries, busy: wait % 2 === 0 });
      assert.ok(mtus.every((mtu) => mtu >= 1200 && mtu <= 1472));
      now += wait;
      tell(search, EVENTS[event]!, now);
      const deadline = search.deadline();
      assert.ok(deadline === undefined || deadline > now, `deadline ${deadline} at ${now}`);
    }
  }));
});
