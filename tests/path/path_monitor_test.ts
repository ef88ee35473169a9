import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type MonitorInput,
  type MonitorOutput,
  type MonitorState,
  PATH_KEEP_ALIVE_MS,
  PathMonitor,
} from "../../src/path/mod.ts";
import { codecs, freshProbe, PEER, probesIn, randomBytes, replyTo, STRANGER, tell } from "./kit.ts";

const { ours, theirs } = codecs();
const path = { socket: 0, remote: PEER };
const RTT = 40;

function create(): PathMonitor {
  return new PathMonitor({ codec: ours, random: randomBytes() });
}

/** Runs to `end`; probes sent before `deaf`, all but the first `lose`, are answered after a round trip. */
function runTo(monitor: PathMonitor, end: number, options: { deaf?: number; lose?: number } = {}) {
  let lose = options.lose ?? 0;
  const out: { at: number; output: MonitorOutput }[] = [];
  const replies: { at: number; input: MonitorInput }[] = [];
  for (let turns = 0;; turns++) {
    assert.ok(turns < 100_000, "runs hot");
    const due = Math.min(monitor.deadline() ?? Infinity, replies[0]?.at ?? Infinity);
    if (due > end) return out;
    const reply = replies[0]?.at === due ? replies.shift() : undefined;
    for (const output of tell(monitor, reply?.input ?? { type: "time" }, due)) {
      out.push({ at: due, output });
      const [probe] = probesIn([output], theirs);
      if (!probe || due >= (options.deaf ?? Infinity) || lose-- > 0) continue;
      const input = { type: "reply", reply: replyTo(probe), socket: 0, from: PEER } as const;
      replies.push({ at: due + RTT, input });
    }
  }
}

function inState(name: MonitorState["name"]): { monitor: PathMonitor; now: number } {
  const monitor = create();
  if (name === "unused") return { monitor, now: 0 };
  tell(monitor, { type: "use", path, rtt: RTT }, 0);
  // The first probe goes out at once; its answer makes the path quiet.
  runTo(monitor, 100);
  if (name === "idle") return { monitor, now: 100 };
  tell(monitor, { type: "traffic", sent: true, received: true }, 100);
  if (name === "busy") return { monitor, now: 101 };
  const until = name === "suspect" ? 270 : 2000;
  runTo(monitor, until, { deaf: 0 });
  return { monitor, now: until };
}

const EVENTS: Record<string, MonitorInput> = {
  use: { type: "use", path, rtt: RTT },
  release: { type: "release" },
  traffic: { type: "traffic", sent: true, received: false },
  unaskedReply: { type: "reply", reply: replyTo(freshProbe(64)), socket: 0, from: PEER },
  networkChanged: { type: "network-changed" },
  rebound: { type: "rebound" },
  time: { type: "time" },
};

/** State × event: where it goes, where not to itself. */
const MOVES: Record<MonitorState["name"], Partial<Record<string, MonitorState["name"]>>> = {
  unused: { use: "idle" },
  idle: { release: "unused", traffic: "busy" },
  busy: { use: "idle", release: "unused" },
  suspect: { use: "idle", release: "unused", rebound: "dead" },
  dead: { use: "idle", release: "unused" },
};

for (const state of Object.keys(MOVES) as MonitorState["name"][]) {
  for (const [event, input] of Object.entries(EVENTS)) {
    const next = MOVES[state][event] ?? state;
    Deno.test(`PathMonitor does go from ${state} by ${event} to ${next}`, () => {
      const { monitor, now } = inState(state);
      assert.equal(monitor.state.name, state);
      tell(monitor, input, now);
      assert.equal(monitor.state.name, next);
      const deadline = monitor.deadline();
      const rests = next === "unused" || next === "dead";
      assert.equal(deadline === undefined, rests);
      assert.ok(rests || deadline! > now, `deadline ${deadline} at ${now}`);
    });
  }
}

Deno.test("PathMonitor does keep an idle path alive at the NAT's pace", () => {
  const { monitor } = inState("idle");
  const sent = runTo(monitor, 600_000).filter(({ output }) => output.type === "send");
  assert.ok(sent.length <= 600_000 / (PATH_KEEP_ALIVE_MS * 0.8) + 1, `${sent.length}`);
  assert.ok(sent.length >= 600_000 / PATH_KEEP_ALIVE_MS - 1, `${sent.length}`);
});

Deno.test("PathMonitor does tell a dead path once, soon, and then is silent", () => {
  const { monitor } = inState("busy");
  const out = runTo(monitor, 10_000, { deaf: 0 });
  const dead = out.filter(({ output }) => output.type === "dead");
  assert.equal(dead.length, 1);
  assert.ok(dead[0]!.at <= 100 + 300, `dead at ${dead[0]!.at}`);
  assert.equal(out.at(-1), dead[0]);
});

Deno.test("PathMonitor does find an idle path dead at the latest after a keep-alive", () => {
  const { monitor } = inState("idle");
  const dead = runTo(monitor, 30_000, { deaf: 0 }).find(({ output }) => output.type === "dead");
  assert.ok(dead && dead.at <= PATH_KEEP_ALIVE_MS + 1000, `dead at ${dead?.at}`);
});

Deno.test("PathMonitor does not take a keep-alive and two questions lost in a row for death", () => {
  const { monitor } = inState("idle");
  const out = runTo(monitor, 30_000, { lose: 3 });
  assert.ok(!out.some(({ output }) => output.type === "dead"));
});

Deno.test("PathMonitor does go back to rest when a suspicion was wrong", () => {
  const { monitor, now } = inState("busy");
  const out = runTo(monitor, now + 10_000, { lose: 5 });
  assert.ok(out.some(({ output }) => output.type === "doubt"));
  assert.ok(!out.some(({ output }) => output.type === "dead"));
  assert.equal(monitor.state.name, "idle");
});

Deno.test("PathMonitor does tell its doubt once per silence, well before its verdict", () => {
  const { monitor } = inState("busy");
  const out = runTo(monitor, 10_000, { deaf: 0 });
  const [doubt, ...more] = out.filter(({ output }) => output.type === "doubt");
  const dead = out.find(({ output }) => output.type === "dead");
  assert.deepEqual(more, []);
  assert.ok(
    doubt && dead && doubt.at <= 180 && doubt.at < dead.at - 50,
    `${doubt?.at} ${dead?.at}`,
  );
});

Deno.test("PathMonitor does not doubt a path whose packets are answered, however seldom they go", () => {
  const { monitor } = inState("busy");
  for (let now = 500; now < 10_000; now += 900) {
    tell(monitor, { type: "traffic", sent: true, received: false }, now);
    const out = runTo(monitor, now + 65);
    tell(monitor, { type: "traffic", sent: false, received: true }, now + 65);
    out.push(...runTo(monitor, now + 800));
    assert.ok(!out.some(({ output }) => output.type === "doubt"), `at ${now}`);
  }
});

Deno.test("PathMonitor does wait longer while packets still come in, not for ever", () => {
  const { monitor } = inState("busy");
  let deadAt: number | undefined;
  for (let now = 100; now < 5000 && deadAt === undefined; now += 10) {
    const out = [
      ...tell(monitor, { type: "traffic", sent: true, received: true }, now),
      ...tell(monitor, { type: "time" }, now),
    ];
    if (out.some(({ type }) => type === "dead")) deadAt = now;
  }
  assert.ok(deadAt && deadAt > 1000 && deadAt < 3500, `dead at ${deadAt}`);
});

Deno.test("PathMonitor does measure the round trip itself and ignore answers from elsewhere", () => {
  const monitor = create();
  const [asked] = probesIn(tell(monitor, { type: "use", path, rtt: 40 }, 0), theirs);
  const reply = replyTo(asked!);
  assert.deepEqual(tell(monitor, { type: "reply", reply, socket: 0, from: STRANGER }, 50), []);
  assert.deepEqual(tell(monitor, { type: "reply", reply, socket: 0, from: PEER }, 80), [
    { type: "alive", path, rtt: 80 },
  ]);
});

Deno.test("PathMonitor does withstand any sequence of inputs", () => {
  const step = fc.tuple(fc.constantFrom(...Object.keys(EVENTS)), fc.integer({ min: 0, max: 2000 }));
  fc.assert(fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
    const monitor = create();
    let now = 0;
    for (const [event, wait] of steps) {
      now += wait;
      runTo(monitor, now, { deaf: now - (wait % 2) * 1e9 });
      tell(monitor, EVENTS[event]!, now);
      const deadline = monitor.deadline();
      assert.ok(deadline === undefined || deadline > now, `deadline ${deadline} at ${now}`);
    }
  }));
});

Deno.test("PathMonitor does give up a silent path at once when our NAT has given us another address", () => {
  const { monitor } = inState("busy");
  tell(monitor, { type: "traffic", sent: true, received: false }, 110);
  const silent = runTo(monitor, 175, { deaf: 0 });
  assert.ok(silent.some(({ output }) => output.type === "doubt"));
  const [dead] = tell(monitor, { type: "rebound" }, 176);
  assert.ok(dead?.type === "dead" && dead.rebound, JSON.stringify(dead));
});

Deno.test("PathMonitor does not give up for another address alone, but as soon as it is silent as well", () => {
  const { monitor } = inState("busy");
  assert.deepEqual(tell(monitor, { type: "rebound" }, 105), []);
  tell(monitor, { type: "traffic", sent: true, received: false }, 110);
  const out = runTo(monitor, 500, { deaf: 0 });
  const dead = out.find(({ output }) => output.type === "dead");
  assert.ok(dead && dead.at >= 150 && dead.at < 175, `${dead?.at}`);
});

Deno.test("PathMonitor does forget about another address when something comes", () => {
  const { monitor } = inState("busy");
  tell(monitor, { type: "rebound" }, 105);
  tell(monitor, { type: "traffic", sent: true, received: true }, 110);
  tell(monitor, { type: "traffic", sent: true, received: false }, 115);
  const out = runTo(monitor, 200, { deaf: 0 });
  assert.ok(!out.some(({ output }) => output.type === "dead"));
});
