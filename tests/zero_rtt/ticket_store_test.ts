import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type ConnectorFacts,
  MAX_TICKET_AGE_MS,
  MAX_TICKET_BYTES,
  MAX_TICKETS,
  type RelayFacts,
  type TicketPeer,
  TicketStore,
} from "../../src/zero_rtt/mod.ts";

const NOW = 1_700_000_000_000;
const RELAY: TicketPeer = { kind: "relay", name: "relay", networkId: "net-1" };
const HOME: TicketPeer = { kind: "connector", name: "home", networkId: "net-1" };
const RELAY_FACTS: RelayFacts = {
  kind: "relay",
  address: "198.51.100.10:4433",
  serverName: "relay.net-1.postern",
  clock: { offsetMs: -3_600_000, uncertaintyMs: 40, learnedAt: NOW },
};
const HOME_FACTS: ConnectorFacts = {
  kind: "connector",
  serverName: "home.net-1.postern",
  pin: "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA",
  services: ["web", "ssh"],
  noEarlyServices: ["ssh"],
  clock: null,
};

function filled(): TicketStore {
  const store = new TicketStore();
  const session = Uint8Array.of(1, 2, 3);
  assert.equal(store.put({ peer: RELAY, session, facts: RELAY_FACTS }, { now: NOW }), "kept");
  assert.equal(store.put({ peer: HOME, session, facts: HOME_FACTS }, { now: NOW }), "kept");
  return store;
}

Deno.test("TicketStore.get() gives each peer's own ticket, in its own network", () => {
  const store = filled();
  assert.deepEqual(store.get(RELAY, NOW)?.facts, RELAY_FACTS);
  assert.deepEqual(store.get(HOME, NOW)?.facts, HOME_FACTS);
  assert.equal(store.get({ ...HOME, networkId: "net-2" }, NOW), undefined);
  assert.equal(store.get({ ...HOME, kind: "relay" }, NOW), undefined);
  assert.equal(store.get({ ...HOME, name: "office" }, NOW), undefined);
});

Deno.test("TicketStore.put() replaces, and copies the session", () => {
  const store = filled();
  const session = Uint8Array.of(9);
  store.put({ peer: HOME, session, facts: HOME_FACTS }, { now: NOW + 1 });
  session[0] = 0;
  assert.deepEqual(store.get(HOME, NOW + 1)?.session, Uint8Array.of(9));
  assert.equal(store.size, 2);
});

Deno.test("TicketStore.get() drops what has expired: by the ticket's word, and after 7 days", () => {
  const store = new TicketStore();
  const put = (lifetimeMs?: number) =>
    store.put({ peer: HOME, session: Uint8Array.of(1), facts: HOME_FACTS }, {
      now: NOW,
      lifetimeMs,
    });
  assert.equal(put(1_000), "kept");
  assert.ok(store.get(HOME, NOW + 999));
  assert.equal(store.get(HOME, NOW + 1_000), undefined);
  assert.equal(store.size, 0);
  put(99 * MAX_TICKET_AGE_MS);
  assert.ok(store.get(HOME, NOW + MAX_TICKET_AGE_MS - 1));
  assert.equal(store.get(HOME, NOW + MAX_TICKET_AGE_MS), undefined);
  for (const lifetime of [0, -1, NaN]) assert.equal(put(lifetime), "expired");
});

Deno.test("TicketStore.get() drops a ticket from a clock that was far ahead", () => {
  const store = filled();
  assert.ok(store.get(HOME, NOW - 60_000), "a clock set right by a minute");
  assert.equal(store.get(HOME, NOW - 2 * 3_600_000), undefined);
});

Deno.test("TicketStore.put() holds its bounds", () => {
  const store = new TicketStore();
  const big = new Uint8Array(MAX_TICKET_BYTES);
  assert.equal(
    store.put({ peer: HOME, session: big, facts: HOME_FACTS }, { now: NOW }),
    "too-large",
  );
  for (let i = 0; i < MAX_TICKETS + 10; i++) {
    const peer = { ...HOME, name: `c${i}` };
    store.put({ peer, session: Uint8Array.of(1), facts: HOME_FACTS }, { now: NOW });
  }
  assert.equal(store.size, MAX_TICKETS);
  assert.equal(store.get({ ...HOME, name: "c9" }, NOW), undefined, "the oldest went");
  assert.ok(store.get({ ...HOME, name: "c10" }, NOW));
});

Deno.test("TicketStore.put() takes nothing that it could not read back", () => {
  const store = new TicketStore();
  const put = (peer: TicketPeer, facts: RelayFacts | ConnectorFacts) =>
    store.put({ peer, session: Uint8Array.of(1), facts }, { now: NOW });
  assert.equal(put({ ...HOME, name: "../x" }, HOME_FACTS), "unfit");
  assert.equal(put({ ...HOME, networkId: "a/b" }, HOME_FACTS), "unfit");
  assert.equal(put(HOME, RELAY_FACTS), "unfit");
  assert.equal(put(HOME, { ...HOME_FACTS, services: ["x".repeat(64)] }), "unfit");
  assert.equal(store.size, 0);
});

Deno.test("TicketStore.update() keeps the session and its age", () => {
  const store = filled();
  const before = store.revision;
  assert.equal(store.update(HOME, { ...HOME_FACTS, services: ["db"] }), true);
  assert.ok(store.revision > before);
  const ticket = store.get(HOME, NOW)!;
  assert.equal(ticket.createdAt, NOW);
  assert.deepEqual(ticket.session, Uint8Array.of(1, 2, 3));
  assert.equal(store.update({ ...HOME, name: "nobody" }, HOME_FACTS), false);
  assert.equal(store.update(HOME, RELAY_FACTS), false);
});

Deno.test("TicketStore.connectorsFor() finds who offered a service, the newest first", () => {
  const store = filled();
  const office = { ...HOME, name: "office" };
  store.put({ peer: office, session: Uint8Array.of(1), facts: HOME_FACTS }, { now: NOW + 5 });
  const names = (service: string, networkId = "net-1", now = NOW + 5) =>
    store.connectorsFor(service, { networkId, now }).map((ticket) => ticket.peer.name);
  assert.deepEqual(names("web"), ["office", "home"]);
  assert.deepEqual(names("db"), []);
  assert.deepEqual(names("web", "net-2"), []);
  assert.deepEqual(names("web", "net-1", NOW + MAX_TICKET_AGE_MS), ["office"]);
});

Deno.test("TicketStore.drop() and prune() forget, and say so by the revision", () => {
  const store = filled();
  let revision = store.revision;
  assert.equal(store.drop(HOME), true);
  assert.ok(store.revision > revision);
  revision = store.revision;
  assert.equal(store.drop(HOME), false);
  store.prune(NOW);
  assert.equal(store.revision, revision);
  store.prune(NOW + MAX_TICKET_AGE_MS);
  assert.equal(store.size, 0);
});

Deno.test("TicketStore.parse() reads what serialize() wrote, and leaves out what has expired", () => {
  const store = filled();
  const text = store.serialize();
  const read = TicketStore.parse(text, NOW);
  assert.ok("ok" in read);
  assert.equal(read.ok.serialize(), text);
  const later = TicketStore.parse(text, NOW + MAX_TICKET_AGE_MS);
  assert.ok("ok" in later);
  assert.equal(later.ok.size, 0);
});

Deno.test("TicketStore.parse() refuses a corrupt store, whole, without quoting it", () => {
  const text = filled().serialize();
  const secret = filled().serialize().replace('"AQID"', '"c2VjcmV0"');
  const cases: [string, string][] = [
    ["", "it is not JSON"],
    [secret.slice(0, -3), "it is not JSON"],
    ["null", "all of it is wrong"],
    [text.replace('"version":1', '"version":2'), "version is wrong"],
    [text.replace('"relay"', '"oracle"'), "tickets.0.peer.kind is wrong"],
    [text.replace('"name":"home"', '"name":"../etc"'), "tickets.1.peer.name is wrong"],
    [text.replace('"AQID"', '"!!"'), 'the session of "relay" is wrong'],
    [text.replace('"AQID"', "7"), "tickets.0.session is wrong"],
    [text.replace(`"createdAt":${NOW}`, '"createdAt":-1'), "tickets.0.createdAt is wrong"],
    [
      text.replace('"kind":"relay","name"', '"kind":"connector","name"'),
      'the facts of "relay" are of another kind',
    ],
  ];
  for (const [corrupt, why] of cases) {
    const parsed = TicketStore.parse(corrupt, NOW);
    assert.deepEqual(parsed, { refused: `Cannot read the ticket store as ${why}` });
  }
  const long = TicketStore.parse(" ".repeat(9_000_000), NOW);
  assert.ok("refused" in long);
});

Deno.test("TicketStore.parse() takes any text and any damage to a good one", () => {
  const text = filled().serialize();
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (any) => void TicketStore.parse(any, NOW)),
  );
  fc.assert(
    fc.property(fc.nat(text.length), fc.nat(8), fc.string({ maxLength: 8 }), (at, cut, put) => {
      const damaged = text.slice(0, at) + put + text.slice(at + cut);
      const parsed = TicketStore.parse(damaged, NOW);
      if ("ok" in parsed) {
        assert.ok(
          "ok" in TicketStore.parse(parsed.ok.serialize(), NOW),
          "what is taken can be kept",
        );
      }
    }),
    { numRuns: 2_000 },
  );
});
