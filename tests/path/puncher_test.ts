import assert from "node:assert/strict";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import {
  type PathOffer,
  Puncher,
  type PuncherInput,
  type PuncherOutput,
  type PuncherState,
} from "../../src/path/mod.ts";
import { codecs, freshProbe, PEER, probesIn, randomBytes, replyTo, STRANGER, tell } from "./kit.ts";

const { ours, theirs } = codecs();
const path = { socket: 0, remote: PEER };
const BASE = 1200;

let generation = 0;
function offer(candidates = [{ kind: "observed", address: PEER } as const]): PathOffer {
  return { generation: ++generation, candidates, mapping: {} };
}

function create(options: { role?: "agent" | "connector"; guessing?: boolean } = {}): Puncher {
  const { role = "agent", guessing = true } = options;
  return new Puncher({ codec: codecs(role).ours, random: randomBytes(), guessing });
}

/** Runs to the deadline after deadline, up to `end`. */
function runTo(puncher: Puncher, end: number, from = 0): PuncherOutput[] {
  const out: PuncherOutput[] = [];
  for (let turns = 0;; turns++) {
    assert.ok(turns < 10_000, "runs hot");
    const at = puncher.deadline();
    if (at === undefined || at > end) return out;
    out.push(...tell(puncher, { type: "time" }, Math.max(at, from)));
  }
}

function inState(name: PuncherState["name"]): { puncher: Puncher; now: number } {
  const puncher = create();
  if (name === "waiting") return { puncher, now: 0 };
  const [asked] = probesIn(tell(puncher, { type: "remote", offer: offer() }, 0), theirs);
  if (name === "active") return { puncher, now: 10 };
  if (name === "background") {
    runTo(puncher, 3500);
    return { puncher, now: 3500 };
  }
  if (name === "stopped") {
    tell(puncher, { type: "stop" }, 5);
    return { puncher, now: 10 };
  }
  tell(puncher, { type: "probe", probe: freshProbe(BASE), socket: 0, from: PEER }, 10);
  tell(puncher, { type: "reply", reply: replyTo(asked!), socket: 0, from: PEER }, 40);
  return { puncher, now: 60 };
}

const EVENTS: Record<string, () => PuncherInput> = {
  local: () => ({ type: "local", local: { families: [4], mapping: {} } }),
  remote: () => ({ type: "remote", offer: offer() }),
  staleRemote: () => ({ type: "remote", offer: { ...offer(), generation: 0 } }),
  probe: () => ({ type: "probe", probe: freshProbe(BASE), socket: 0, from: PEER }),
  smallProbe: () => ({ type: "probe", probe: freshProbe(64), socket: 0, from: PEER }),
  unaskedReply: () => ({
    type: "reply",
    reply: replyTo(freshProbe(BASE)),
    socket: 0,
    from: PEER,
  }),
  guessSockets: () => ({ type: "guess-sockets", sockets: [1, 2] }),
  busy: () => ({ type: "busy", busy: true }),
  inUse: () => ({ type: "in-use", path }),
  lost: () => ({ type: "lost", path }),
  lostUnknown: () => ({ type: "lost", path: { socket: 9, remote: STRANGER } }),
  networkChanged: () => ({ type: "network-changed" }),
  time: () => ({ type: "time" }),
  stop: () => ({ type: "stop" }),
};

/** State × event: where it goes, where not to itself. */
const MOVES: Record<PuncherState["name"], Partial<Record<string, PuncherState["name"]>>> = {
  waiting: {
    remote: "active",
    staleRemote: "active",
    probe: "active",
    smallProbe: "active",
    stop: "stopped",
  },
  active: { stop: "stopped" },
  background: { local: "active", remote: "active", networkChanged: "active", stop: "stopped" },
  settled: { lost: "active", stop: "stopped" },
  stopped: {},
};

for (const state of Object.keys(MOVES) as PuncherState["name"][]) {
  for (const [event, input] of Object.entries(EVENTS)) {
    const next = MOVES[state][event] ?? state;
    Deno.test(`Puncher does go from ${state} by ${event} to ${next}`, () => {
      const { puncher, now } = inState(state);
      assert.equal(puncher.state.name, state);
      tell(puncher, input(), now);
      assert.equal(puncher.state.name, next);
      const deadline = puncher.deadline();
      assert.ok(deadline === undefined || deadline > now, `deadline ${deadline} at ${now}`);
      if (next === "stopped") assert.equal(deadline, undefined);
    });
  }
}

Deno.test("Puncher does probe every candidate at once with full-size packets, families in turns", () => {
  const puncher = create();
  const candidates = ["2001:db8::1", "2001:db8::2", "10.0.0.1", "10.0.0.2"].map((host) => ({
    kind: "host" as const,
    address: addressOf(host, 1),
  }));
  const out = tell(puncher, { type: "remote", offer: { ...offer(), candidates } }, 0);
  assert.deepEqual(
    out.map((output) => output.type === "send" && output.to.family),
    [6, 4, 6, 4],
  );
  assert.ok(probesIn(out, theirs).every(({ size, probeBack }) => size === BASE && probeBack));
});

Deno.test("Puncher does retry within tens of milliseconds, and pace many candidates", () => {
  const puncher = create();
  const candidates = Array.from({ length: 32 }, (_, i) => ({
    kind: "host" as const,
    address: addressOf(`10.0.0.${i + 1}`, 1),
  }));
  const first = tell(puncher, { type: "remote", offer: { ...offer(), candidates } }, 0);
  assert.equal(first.length, 8);
  const second = tell(puncher, { type: "time" }, puncher.deadline()!);
  assert.equal(second.length, 1);
  const all = runTo(puncher, 10_000);
  assert.ok(all.length < 32 * 14, `${all.length} packets for 32 dead candidates`);
});

Deno.test("Puncher does answer a probe and probe back on the same way at once", () => {
  const puncher = create();
  const probe = freshProbe(BASE);
  const out = tell(puncher, { type: "probe", probe, socket: 0, from: STRANGER }, 0);
  const opened = out.map((output) => output.type === "send" && theirs.open(output.datagram).type);
  assert.deepEqual(opened, ["reply", "probe"]);
  assert.ok(out.every((output) => output.type === "send" && output.to === STRANGER));
});

Deno.test("Puncher does answer a repeated probe, but probe back only once", () => {
  const puncher = create();
  const input = { type: "probe", probe: freshProbe(BASE), socket: 0, from: STRANGER } as const;
  assert.equal(tell(puncher, input, 0).length, 2);
  const again = tell(puncher, input, 10);
  assert.deepEqual(again.map((o) => o.type === "send" && theirs.open(o.datagram).type), ["reply"]);
});

Deno.test("Puncher does give nothing for a probe replayed from elsewhere, unless it knows the way", () => {
  const puncher = create();
  const probe = freshProbe(BASE);
  tell(puncher, { type: "probe", probe, socket: 0, from: STRANGER }, 0);
  assert.deepEqual(tell(puncher, { type: "probe", probe, socket: 0, from: PEER }, 1), []);
  tell(puncher, { type: "remote", offer: offer() }, 2);
  assert.notDeepEqual(tell(puncher, { type: "probe", probe, socket: 0, from: PEER }, 10), []);
});

Deno.test("Puncher does guess once, and again only after a while or in another network", () => {
  const puncher = create();
  const own = { families: [4], mapping: { v4: "endpoint-independent" } } as const;
  const dependent = { v4: "address-and-port-dependent" } as const;
  tell(puncher, { type: "local", local: own }, 0);
  let now = 0;
  const guessed = (input: PuncherInput) => {
    const out = [...tell(puncher, input, now), ...runTo(puncher, now + 5000)];
    now += 5000;
    return out.length > 2000;
  };
  const again = (): PuncherInput => ({ type: "remote", offer: { ...offer(), mapping: dependent } });
  assert.equal(guessed(again()), true);
  assert.equal(guessed(again()), false);
  assert.equal(guessed({ type: "network-changed" }), true);
  assert.equal(guessed(again()), false);
  runTo(puncher, now += 300_000);
  assert.equal(guessed(again()), true);
});

Deno.test("Puncher does validate only what is proven in both directions with full-size packets", () => {
  const validated = (out: PuncherOutput[]) => out.some(({ type }) => type === "validated");
  const one = create();
  const [asked] = probesIn(tell(one, { type: "remote", offer: offer() }, 0), theirs);
  const reply = { type: "reply", reply: replyTo(asked!), socket: 0, from: PEER } as const;
  assert.equal(validated(tell(one, reply, 40)), false);
  const small = { type: "probe", probe: freshProbe(1199), socket: 0, from: PEER } as const;
  assert.equal(validated(tell(one, small, 41)), false);
  const full = { type: "probe", probe: freshProbe(BASE), socket: 0, from: PEER } as const;
  const out = tell(one, full, 42);
  assert.deepEqual(out.find(({ type }) => type === "validated"), {
    type: "validated",
    path,
    kind: "observed",
    rtt: 40,
    mtu: BASE,
  });
});

Deno.test("Puncher does not believe answers from elsewhere, twice, or to nothing", () => {
  const puncher = create();
  const [asked] = probesIn(tell(puncher, { type: "remote", offer: offer() }, 0), theirs);
  tell(puncher, { type: "probe", probe: freshProbe(BASE), socket: 0, from: PEER }, 5);
  const reply = replyTo(asked!);
  for (
    const wrong of [
      { type: "reply", reply, socket: 0, from: STRANGER },
      { type: "reply", reply, socket: 3, from: PEER },
      { type: "reply", reply: replyTo(freshProbe(BASE)), socket: 0, from: PEER },
    ] as const
  ) {
    tell(puncher, wrong, 40);
    assert.equal(puncher.state.name, "active");
  }
  tell(puncher, { type: "reply", reply, socket: 0, from: PEER }, 41);
  assert.equal(puncher.state.name, "settled");
});

Deno.test("Puncher does not put two old proofs together", () => {
  const puncher = create();
  tell(puncher, { type: "probe", probe: freshProbe(BASE), socket: 0, from: PEER }, 0);
  const out = tell(puncher, { type: "remote", offer: offer() }, 60_000);
  const [asked] = probesIn(out, theirs);
  tell(puncher, { type: "reply", reply: replyTo(asked!), socket: 0, from: PEER }, 60_040);
  assert.notEqual(puncher.state.name, "settled");
});

Deno.test("Puncher does look after a proven way, and invalidates it when it falls silent", () => {
  const { puncher } = inState("settled");
  const quiet = runTo(puncher, 24_000);
  assert.ok(probesIn(quiet, theirs).length <= 2, "no more than the upkeep");
  const out = runTo(puncher, 30_000);
  assert.ok(out.some(({ type }) => type === "invalidated"));
});

Deno.test("Puncher does leave the path in use to the monitor", () => {
  const { puncher, now } = inState("settled");
  tell(puncher, { type: "in-use", path }, now);
  const out = runTo(puncher, 300_000);
  assert.ok(!out.some(({ type }) => type === "invalidated"));
  assert.equal(puncher.state.name, "settled");
});

Deno.test("Puncher does try for ever: small probes, seldom when idle, each second when busy", () => {
  const { puncher } = inState("background");
  const hour = 3_600_000;
  const idle = probesIn(runTo(puncher, hour), theirs);
  assert.ok(idle.length > hour / 30_000 && idle.length < hour / 15_000, `${idle.length} an hour`);
  assert.ok(idle.every(({ size }) => size === 64));
  tell(puncher, { type: "busy", busy: true }, hour);
  const busy = probesIn(runTo(puncher, hour + 60_000), theirs);
  assert.ok(busy.length >= 58 && busy.length <= 70, `${busy.length} a minute`);
});

Deno.test("Puncher does ask for an exchange now and then as agent, never as connector", () => {
  for (const role of ["agent", "connector"] as const) {
    const puncher = create({ role });
    tell(puncher, { type: "remote", offer: offer() }, 0);
    const exchanges = runTo(puncher, 3_600_000).filter(({ type }) => type === "exchange").length;
    if (role === "agent") assert.ok(exchanges >= 6 && exchanges <= 15, `${exchanges} an hour`);
    else assert.equal(exchanges, 0);
  }
});

Deno.test("Puncher does tell the outcome of a failed attempt per family", () => {
  const puncher = create();
  const candidates = [PEER, addressOf("2001:db8::9", 1)]
    .map((address) => ({ kind: "observed" as const, address }));
  tell(puncher, { type: "remote", offer: { ...offer(), candidates } }, 0);
  tell(puncher, { type: "probe", probe: freshProbe(64), socket: 0, from: PEER }, 100);
  const told = runTo(puncher, 5000).filter(({ type }) => type === "outcome");
  assert.deepEqual(told, [
    { type: "outcome", family: 4, outcome: "small-only" },
    { type: "outcome", family: 6, outcome: "no-answer" },
  ]);
});

Deno.test("Puncher does close guess sockets that come too late, and all when stopped", () => {
  const puncher = create();
  const late = tell(puncher, { type: "guess-sockets", sockets: [1, 2] }, 0);
  assert.deepEqual(late, [{ type: "close-guess-sockets", keep: undefined }]);
  const dependent = { v4: "address-and-port-dependent" } as const;
  tell(puncher, { type: "local", local: { families: [4], mapping: dependent } }, 0);
  const strict = { ...offer(), mapping: { v4: "endpoint-independent" } as const };
  tell(puncher, { type: "remote", offer: strict }, 0);
  const out = runTo(puncher, 300);
  assert.deepEqual(out.find(({ type }) => type === "open-guess-sockets"), {
    type: "open-guess-sockets",
    family: 4,
    count: 256,
  });
  tell(puncher, { type: "guess-sockets", sockets: [1, 2] }, 300);
  const stopped = tell(puncher, { type: "stop" }, 301);
  assert.deepEqual(stopped, [{ type: "close-guess-sockets", keep: undefined }]);
});

Deno.test("Puncher does keep the one guess socket that won", () => {
  const puncher = create();
  const dependent = { v4: "address-and-port-dependent" } as const;
  tell(puncher, { type: "local", local: { families: [4], mapping: dependent } }, 0);
  const strict = { ...offer(), mapping: { v4: "endpoint-independent" } as const };
  tell(puncher, { type: "remote", offer: strict }, 0);
  runTo(puncher, 300);
  tell(puncher, { type: "guess-sockets", sockets: [1, 2, 3] }, 300);
  const hit = { type: "probe", probe: freshProbe(64), socket: 2, from: PEER } as const;
  const [asked] = probesIn(tell(puncher, hit, 310), theirs);
  tell(puncher, { type: "probe", probe: freshProbe(BASE), socket: 2, from: PEER }, 320);
  const reply = { type: "reply", reply: replyTo(asked!), socket: 2, from: PEER } as const;
  const out = tell(puncher, reply, 350);
  assert.deepEqual(out.map(({ type }) => type), ["validated", "close-guess-sockets"]);
  assert.deepEqual(out.at(-1), { type: "close-guess-sockets", keep: 2 });
});

Deno.test("Puncher does withstand any sequence of inputs", () => {
  const step = fc.tuple(
    fc.constantFrom(...Object.keys(EVENTS).filter((event) => event !== "stop")),
    fc.integer({ min: 0, max: 3000 }),
    fc.nat(300),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const puncher = create();
    let now = 0;
    let packets = 0;
    for (const [event, wait, from] of steps) {
      now += wait;
      packets += runTo(puncher, now).length;
      const input = EVENTS[event]!();
      const address = addressOf(`203.0.113.${from % 250}`, 1 + from);
      packets += tell(puncher, "from" in input ? { ...input, from: address } : input, now).length;
      const deadline = puncher.deadline();
      assert.ok(deadline === undefined || deadline > now, `deadline ${deadline} at ${now}`);
    }
    assert.ok(packets <= 60 * (64 * 14 + 3000));
  }));
});

Deno.test("Puncher does open its own packets at the other end only", () => {
  const [datagram] = tell(create(), { type: "remote", offer: offer() }, 0)
    .flatMap((output) => output.type === "send" ? [output.datagram] : []);
  assert.deepEqual(ours.open(datagram!), { type: "refused", reason: "reflected" });
});

Deno.test("Puncher.handle() does not give up a way that is being proven because a newer offer leaves it out", () => {
  const puncher = create();
  const [asked] = probesIn(tell(puncher, { type: "remote", offer: offer() }, 0), theirs);
  tell(puncher, { type: "probe", probe: freshProbe(BASE), socket: 0, from: PEER }, 10);
  const elsewhere = { kind: "host", address: STRANGER } as const;
  tell(puncher, { type: "remote", offer: offer([elsewhere] as never) }, 20);
  const proven = tell(
    puncher,
    { type: "reply", reply: replyTo(asked!), socket: 0, from: PEER },
    30,
  );
  assert.ok(proven.some(({ type }) => type === "validated"));
});
