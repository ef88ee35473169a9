/** Client sessions, relay sessions and registry together: whatever breaks, what is wanted comes back. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ControlWorld, DELAY } from "./control_world.ts";
import { snapshotOf } from "./registry_model.ts";

const POLICY = snapshotOf({
  grants: [["alice", "web"], ["bob", "web"]],
  offers: [["home", "web"], ["office", "web"]],
  revoked: [],
});
const T1 = "1".repeat(16);

function world() {
  const it = new ControlWorld(POLICY);
  it.startRelay();
  const home = it.startClient("connector", "home");
  const alice = it.startClient("agent", "alice");
  return { it, home, alice };
}

Deno.test("ClientSession and Registry open a tunnel in one round trip of a first flight", () => {
  const { it, alice, home } = world();
  it.run(1_000);
  const start = it.now;
  it.want(alice, T1);
  it.run(2 * DELAY);
  assert.equal(alice.tunnels.get(T1)?.state, "open");
  assert.equal(home.tunnels.get(T1)?.peer, "alice");
  assert.equal(it.now - start, 2 * DELAY);
});

Deno.test("ClientSession and Registry go on with tunnels within 3 s of a relay restart", () => {
  const { it, alice, home } = world();
  it.run(1_000);
  it.want(alice, T1);
  it.run(1_000);
  const { session: aliceSession } = alice;
  it.killRelay();
  it.run(2_000);
  it.startRelay();
  it.run(3_000);
  assert.equal(alice.session, aliceSession);
  assert.equal(alice.tunnels.get(T1)?.state, "open");
  assert.equal(home.tunnels.get(T1)?.state, "open");
  const route = it.routes.get(T1);
  assert.ok(route?.a && route.b);
  assert.equal(alice.told.filter(({ type }) => type === "disconnected").length, 0);
});

Deno.test("ClientSession and Registry end tunnels of a connector that was killed as soon as it is back", () => {
  const { it, alice } = world();
  it.run(1_000);
  it.want(alice, T1);
  it.run(1_000);
  it.startClient("connector", "home");
  it.run(500);
  assert.equal(alice.tunnels.get(T1)?.state, "closed");
  assert.equal(it.routes.size, 0);
});

Deno.test("ClientSession and Registry end tunnels of a connector that was killed while the relay restarted", () => {
  const { it, alice } = world();
  it.run(1_000);
  it.want(alice, T1);
  it.run(1_000);
  it.killRelay();
  it.startRelay();
  it.startClient("connector", "home");
  it.run(5_000);
  assert.equal(alice.tunnels.get(T1)?.state, "closed");
  assert.equal(it.routes.size, 0);
});

Deno.test("ClientSession and Registry come to rest with every wanted tunnel open, whatever broke before", () => {
  const faults = fc.tuple(
    fc.constantFrom("kill relay", "restart client", "break link", "want", "give up"),
    fc.nat(3),
    fc.nat(3),
    fc.nat({ max: 8_000 }),
  );
  let open = 0;
  fc.assert(
    fc.property(fc.array(faults, { minLength: 1, maxLength: 25, size: "max" }), (history) => {
      const it = new ControlWorld(POLICY);
      const names = [["connector", "home"], ["connector", "office"], ["agent", "alice"], [
        "agent",
        "bob",
      ]] as const;
      for (const [kind, name] of names) it.startClient(kind, name);
      let ids = 0;
      for (const [fault, who, which, after] of history) {
        it.startRelay();
        const client = it.clients[who]!;
        const agent = it.clients[2 + who % 2]!;
        if (fault === "kill relay") it.killRelay();
        else if (fault === "restart client") it.startClient(client.kind, client.name);
        else if (fault === "break link") it.breakLink(client);
        else if (fault === "want") it.want(agent, (++ids).toString(16).padStart(16, "0"));
        else {
          const id = [...agent.tunnels.keys()][which];
          if (id !== undefined) it.giveUp(agent, id);
        }
        it.run(after);
      }
      it.startRelay();
      // Two grace times: what nobody asks for any more is forgotten by then.
      it.run(130_000);
      for (const client of it.clients) {
        assert.equal(client.session.state, "ready", client.name);
        for (const [id, tunnel] of client.tunnels) {
          if (tunnel.state === "closed") continue;
          assert.equal(tunnel.state, "open", `${client.name} ${id}`);
          const other = it.clients.find((it) => it.name === tunnel.peer);
          const known = other?.tunnels.get(id)?.peer === client.name;
          const route = it.routes.get(id);
          // Given up while there was no relay to say so: the connector finds out as the tunnel itself goes silent.
          if (client.kind === "connector" && !known) assert.equal(route, undefined);
          else {
            assert.ok(known, `both ends know ${id}`);
            assert.ok(route?.a && route.b, `${id} is forwarded`);
            open++;
          }
        }
      }
      for (const id of it.routes.keys()) {
        assert.ok(
          it.clients.some(({ tunnels }) => tunnels.get(id)?.state === "open"),
          `${id} is wanted`,
        );
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(open > 100, "the histories open tunnels");
});
