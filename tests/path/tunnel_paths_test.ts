import assert from "node:assert/strict";
import fc from "fast-check";
import { type Address, addressOf } from "../../src/core/address.ts";
import {
  type DirectPath,
  type PathRole,
  TunnelPaths,
  type TunnelPathsInput,
  type TunnelPathsOutput,
} from "../../src/path/mod.ts";
import { codecs, PEER, probesIn, randomBytes, STRANGER, tell } from "./kit.ts";

const path: DirectPath = { socket: 0, remote: PEER };
const RTT = 40;
let generation = 0;

function create(role: PathRole = "agent"): TunnelPaths {
  return new TunnelPaths({ codec: codecs(role).ours, random: randomBytes() });
}

function remote(...addresses: Address[]): TunnelPathsInput {
  const candidates = [PEER, ...addresses].map((address) => ({
    kind: "observed" as const,
    address,
  }));
  return { type: "remote", offer: { generation: ++generation, candidates, mapping: {} } };
}

/** Plays the other end until `end`: answers probes on `answers` and probes back when asked. */
function runTo(
  paths: TunnelPaths,
  end: number,
  options: { first?: TunnelPathsOutput[]; role?: PathRole; answers?: (to: Address) => boolean } =
    {},
): TunnelPathsOutput[] {
  const { theirs } = codecs(options.role ?? "agent");
  const random = randomBytes(77);
  const out: TunnelPathsOutput[] = [];
  const coming: { at: number; from: Address; datagram: Uint8Array }[] = [];
  const take = (outputs: TunnelPathsOutput[], now: number) => {
    for (const output of outputs) {
      out.push(output);
      const [probe] = probesIn([output as { type: string; datagram?: Uint8Array }], theirs);
      if (!probe || output.type !== "send" || options.answers?.(output.to) === false) continue;
      const from = output.to;
      coming.push({ at: now + RTT, from, datagram: theirs.reply(probe.txid, STRANGER) });
      if (!probe.probeBack) continue;
      const txid = Array.from(random(8), (byte) => byte.toString(16).padStart(2, "0")).join("");
      coming.push({ at: now + RTT, from, datagram: theirs.probe(txid, { size: 1200 }) });
    }
  };
  take(options.first ?? [], 0);
  for (let turns = 0;; turns++) {
    assert.ok(turns < 100_000, "runs hot");
    const due = Math.min(paths.deadline() ?? Infinity, coming[0]?.at ?? Infinity);
    if (due > end) return out;
    const next = coming[0]?.at === due ? coming.shift() : undefined;
    const input: TunnelPathsInput = next
      ? { type: "datagram", socket: 0, from: next.from, datagram: next.datagram }
      : { type: "time" };
    take(tell(paths, input, due), due);
  }
}

function uses(out: TunnelPathsOutput[]): (string | undefined)[] {
  return out.flatMap((output) => output.type === "use" ? [output.path?.remote.key] : []);
}

Deno.test("TunnelPaths does tell the agent to use a proven path, and the packet size once it does", () => {
  const paths = create();
  const out = runTo(paths, 500, { first: tell(paths, remote(), 0) });
  assert.deepEqual(uses(out), [PEER.key]);
  const moved = runTo(paths, 2000, { first: tell(paths, { type: "migrated", path }, 500) });
  const mtus = moved.flatMap((output) => output.type === "mtu" ? [output.mtu] : []);
  assert.equal(mtus[0], 1200);
  assert.equal(mtus.at(-1), 1472);
});

Deno.test("TunnelPaths does never tell a connector to move", () => {
  const paths = create("connector");
  const out = runTo(paths, 5000, { first: tell(paths, remote(), 0), role: "connector" });
  assert.deepEqual(uses(out), []);
  assert.equal(paths.proven.length, 1);
});

Deno.test("TunnelPaths does leave a dead path for the relayed one, and wants addresses looked at", () => {
  const paths = create();
  runTo(paths, 500, { first: tell(paths, remote(), 0) });
  runTo(paths, 900, { first: tell(paths, { type: "migrated", path }, 500) });
  tell(paths, { type: "traffic", path, sent: true, received: false }, 1000);
  const out = runTo(paths, 3000, { answers: () => false });
  assert.deepEqual(uses(out), [undefined]);
  assert.ok(out.some(({ type }) => type === "refresh"));
  const use = out.find((output) => output.type === "use");
  assert.match(use?.reason ?? "", /no answer for \d+ ms/);
});

/** On the path to PEER, under traffic, with the one to `other` proven as well; answers the time. */
function onTwoWays(other: Address): { paths: TunnelPaths; now: number } {
  const paths = create();
  runTo(paths, 500, { first: tell(paths, remote(other), 0) });
  assert.equal(paths.proven.length, 2);
  runTo(paths, 900, { first: tell(paths, { type: "migrated", path }, 500) });
  runTo(paths, 5_000);
  const traffic = tell(paths, { type: "traffic", path, sent: true, received: true }, 5_000);
  const now = 5_100;
  runTo(paths, now, { first: traffic.filter(({ type }) => type !== "send") });
  tell(paths, { type: "traffic", path, sent: true, received: true }, now);
  return { paths, now };
}

const OTHER = addressOf("198.51.100.23", 51_002);

Deno.test("TunnelPaths does leave a dead path for one that has been heard since it fell silent", () => {
  const { paths, now } = onTwoWays(OTHER);
  const out = runTo(paths, now + 1_000, { answers: (to) => to === OTHER });
  assert.deepEqual(uses(out), [OTHER.key]);
  const [use] = out.filter((output) => output.type === "use");
  assert.equal(use?.urgent, true);
});

Deno.test("TunnelPaths does leave a dead path for none that may have died with it, and takes that when it answers", () => {
  const { paths, now } = onTwoWays(OTHER);
  const out = runTo(paths, now + 700, { answers: () => false });
  assert.deepEqual(uses(out), [undefined]);
  const later = runTo(paths, now + 1_500, { answers: (to) => to === OTHER });
  assert.deepEqual(uses(later), [OTHER.key]);
});

Deno.test("TunnelPaths does leave a path at once when this machine has left its family", () => {
  const { paths, now } = onTwoWays(OTHER);
  const local = { families: [6], mapping: {} } as const;
  assert.deepEqual(uses(tell(paths, { type: "local", local }, now)), [undefined]);
});

Deno.test("TunnelPaths does leave a path at once when this machine is elsewhere, and no other change", () => {
  const { paths, now } = onTwoWays(OTHER);
  assert.deepEqual(uses(tell(paths, { type: "network-changed" }, now)), []);
  const out = tell(paths, { type: "network-changed", elsewhere: true }, now);
  assert.deepEqual(uses(out), [undefined]);
  assert.deepEqual(uses(runTo(paths, now + 1_000, { answers: (to) => to === PEER })), [PEER.key]);
});

Deno.test("TunnelPaths does take a path back that died once, and hold one that keeps failing", () => {
  const paths = create();
  runTo(paths, 500, { first: tell(paths, remote(), 0) });
  let now = 500;
  const waits: number[] = [];
  for (let i = 0; i < 5; i++) {
    const failed = now;
    const first = tell(paths, { type: "migration-failed", path }, now);
    assert.deepEqual(uses(first), [undefined]);
    let pending = first;
    while (uses(pending).filter((use) => use !== undefined).length === 0) {
      now += 20;
      pending = runTo(paths, now, { first: pending.filter(({ type }) => type === "send") });
      assert.ok(now < failed + 60_000, "tried again within a minute");
    }
    waits.push(now - failed);
  }
  assert.ok(waits[0]! < 300, `${waits}`);
  assert.ok(waits[1]! >= 1000 && waits[4]! >= 4000, `${waits}`);
});

Deno.test("TunnelPaths does stay where it is when a failed move leaves the old path", () => {
  const paths = create();
  runTo(paths, 500, { first: tell(paths, remote(), 0) });
  tell(paths, { type: "migrated", path }, 500);
  const other = { socket: 0, remote: STRANGER };
  assert.deepEqual(uses(tell(paths, { type: "migration-failed", path: other }, 600)), []);
});

Deno.test("TunnelPaths does count what is none of ours", () => {
  const paths = create();
  const datagram = Uint8Array.of(5, 1, 2, 3);
  const input = { type: "datagram", socket: 0, from: STRANGER, datagram } as const;
  assert.deepEqual(tell(paths, input, 0), [{ type: "dropped", reason: "wrong-length" }]);
});

Deno.test("TunnelPaths does rest for ever once stopped", () => {
  const paths = create();
  runTo(paths, 500, { first: tell(paths, remote(), 0) });
  tell(paths, { type: "migrated", path }, 500);
  tell(paths, { type: "stop" }, 600);
  runTo(paths, 5000);
  assert.equal(paths.deadline(), undefined);
});

Deno.test("TunnelPaths does withstand any sequence of inputs", () => {
  const { theirs } = codecs();
  const other = { socket: 2, remote: addressOf("2001:db8::5", 7) };
  const events: (() => TunnelPathsInput)[] = [
    remote,
    () => ({ type: "local", local: { families: [4, 6], mapping: { v4: "address-dependent" } } }),
    () => ({ type: "migrated", path }),
    () => ({ type: "migrated", path: undefined }),
    () => ({ type: "migrated", path: other }),
    () => ({ type: "migration-failed", path }),
    () => ({ type: "migration-failed", path: other }),
    () => ({ type: "traffic", path, sent: true, received: false }),
    () => ({ type: "traffic", path: undefined, sent: true, received: true }),
    () => ({ type: "network-changed" }),
    () => ({ type: "guess-sockets", sockets: [1, 2, 3] }),
    () => ({
      type: "datagram",
      socket: 0,
      from: PEER,
      datagram: theirs.probe((++generation).toString(16).padStart(16, "0"), { size: 1200 }),
    }),
    () => ({ type: "datagram", socket: 0, from: STRANGER, datagram: new Uint8Array(64).fill(6) }),
    () => ({ type: "time" }),
  ];
  const step = fc.tuple(fc.nat(events.length - 1), fc.integer({ min: 0, max: 3000 }));
  const role = fc.constantFrom<PathRole>("agent", "connector");
  fc.assert(fc.property(role, fc.array(step, { maxLength: 50 }), (which, steps) => {
    const paths = create(which);
    let now = 0;
    for (const [event, wait] of steps) {
      now += wait;
      runTo(paths, now, { role: which, answers: () => wait % 3 > 0 });
      const out = tell(paths, events[event]!(), now);
      if (which === "connector") assert.deepEqual(uses(out), []);
      const deadline = paths.deadline();
      assert.ok(deadline === undefined || deadline > now, `deadline ${deadline} at ${now}`);
    }
  }));
});

Deno.test("TunnelPaths does leave a silent path when our NAT has given us another address of its family", () => {
  for (const family of [4, 6] as const) {
    const paths = create();
    runTo(paths, 500, { first: tell(paths, remote(), 0) });
    runTo(paths, 900, { first: tell(paths, { type: "migrated", path }, 500) });
    tell(paths, { type: "traffic", path, sent: true, received: false }, 1000);
    const silent = runTo(paths, 1060, { answers: () => false });
    assert.deepEqual(uses(silent), []);
    const out = tell(paths, { type: "rebound", family }, 1061);
    assert.deepEqual(uses(out), family === 4 ? [undefined] : []);
    const use = out.find((output) => output.type === "use");
    assert.equal(use?.reason, family === 4 ? "our NAT gave us another address" : undefined);
  }
});
