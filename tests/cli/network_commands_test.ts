import assert from "node:assert/strict";
import { join } from "node:path";
import { createCa, decodeInvite, type Invite, openStateFolder } from "../../src/identity/mod.ts";
import type { Name } from "../../src/identity/name.ts";
import { RelayStore } from "../../src/relay/store.ts";
import { run } from "../../src/cli/run.ts";
import { createFakeIo } from "./fake_io.ts";

const PIN = "A".repeat(43);

/** A relay's state folder as its first start leaves it, and the commands beside it. */
async function network(
  work: (tools: {
    state: string;
    store: RelayStore;
    postern: (...argv: string[]) => Promise<{ code: number; out: string; err: string }>;
    join: (kind: "agent" | "connector", name: string, ...services: string[]) => void;
  }) => Promise<void>,
  options: { noCa?: boolean; noPublic?: boolean; terminal?: boolean } = {},
) {
  const top = Deno.makeTempDirSync();
  const state = join(top, "r");
  const folder = await openStateFolder(state, { role: "relay", create: true });
  const store = RelayStore.open(folder, { create: true });
  if (!options.noPublic) store.setPublicAddresses([{ host: "relay.example.com", port: 4433 }]);
  if (!options.noCa) {
    const ca = await createCa({ now: Date.now() });
    await folder.write("ca.pem", ca.certificatePem);
  }
  try {
    await work({
      state,
      store,
      async postern(...argv) {
        const io = createFakeIo({
          env: { HOME: top, POSTERN_SELF: "postern" },
          terminal: options.terminal ?? false,
        });
        const code = await run([...argv, "--state", state], io);
        return { code, ...io.written };
      },
      join(kind, name, ...services) {
        const now = Date.now();
        const request = { kind, name: name as Name, services: services as Name[], now, ttl: 9999 };
        const { secret } = store.createInvite(request);
        store.redeemInvite({ secret, name: name as Name, pin: PIN, now });
      },
    });
  } finally {
    store.close();
    Deno.removeSync(top, { recursive: true });
  }
}

function decoded(out: string): Invite {
  assert.match(out, /^postern1_[\w-]+\n$/, "one line, nothing else");
  const invite = decodeInvite(out);
  assert.ok(typeof invite === "object", String(invite));
  return invite;
}

Deno.test("invite does print a token and nothing else", async () => {
  await network(async ({ postern, join }) => {
    const home = await postern("invite", "connector", "home", "--service", "web", "--service=ssh");
    assert.deepEqual([home.code, home.err], [0, ""]);
    const forHome = decoded(home.out);
    assert.equal(forHome.kind, "connector");
    assert.equal(forHome.name, "home");
    assert.deepEqual(forHome.services, ["web", "ssh"]);
    assert.deepEqual(forHome.relays, [{ host: "relay.example.com", port: 4433 }]);
    const hour = forHome.expires - Date.now();
    assert.ok(hour > 3_500_000 && hour <= 3_600_000, String(hour));

    join("connector", "cellar", "wine");
    const alice = await postern(
      ...["invite", "agent", "alice", "--allow", "web", "--allow", "wine", "--ttl", "30m"],
      ...["--public", "10.0.0.1:1"],
    );
    assert.deepEqual([alice.code, alice.err], [0, ""]);
    const forAlice = decoded(alice.out);
    assert.deepEqual(forAlice.relays, [{ host: "10.0.0.1", port: 1 }]);
    assert.deepEqual(forAlice.pins, [{ name: "cellar", pin: PIN }]);
    assert.ok(forAlice.expires - Date.now() <= 1_800_000);
  });
});

Deno.test("invite does say what to do next, to a person", async () => {
  await network(async ({ postern }) => {
    const { err } = await postern("invite", "connector", "home", "--service", "web");
    assert.match(err, /postern connector --invite-file - web=127\.0\.0\.1:8080\n/);
  }, { terminal: true });
});

Deno.test("invite does warn about a service that nobody will offer", async () => {
  await network(async ({ postern }) => {
    const { code, err } = await postern("invite", "agent", "alice", "--allow", "wbe");
    assert.equal(code, 0);
    assert.equal(err, 'postern: nobody has been invited yet to offer "wbe"\n');
  });
});

Deno.test("invite does refuse what makes no sense, with exit code 2", async () => {
  await network(async ({ postern }) => {
    for (
      const [argv, message] of [
        [["connector", "home"], /Cannot invite connector "home" without --service/],
        [["agent", "alice"], /without --allow/],
        [
          ["agent", "alice", "--service", "web"],
          /Cannot use --service for an agent\n {2}Say --allow web/,
        ],
        [["connector", "home", "--allow", "web"], /Cannot use --allow for a connector/],
        [["agnet", "alice", "--allow", "web"], /did you mean agent\?/],
        [["agent", "../x", "--allow", "web"], /"\." is not allowed/],
        [["agent", "alice", "--allow", "a b"], /--allow: .*" " is not allowed/],
        [["agent", "alice", "--allow", "web", "--ttl", "31d"], /more than 30 days/],
        [["agent", "alice", "--allow", "web", "--ttl", "1"], /expected a span/],
        [["agent"], /without NAME/],
        [["agent", "a", "b", "--allow", "web"], /Unexpected argument "b"/],
      ] as const
    ) {
      const { code, out, err } = await postern("invite", ...argv);
      assert.equal(code, 2, err);
      assert.equal(out, "");
      assert.match(err, message);
    }
  });
});

Deno.test("invite does refuse a name that has joined, and a relay that is not there", async () => {
  await network(async ({ postern, join }) => {
    join("agent", "alice", "web");
    const again = await postern("invite", "agent", "alice", "--allow", "web");
    assert.equal(again.code, 1);
    assert.match(again.err, /has joined already\n.*revoke agent alice/);
    const other = await postern("invite", "agent", "bob", "--allow", "web", "--wait", "0");
    assert.equal(other.code, 0);
  });
  await network(async ({ postern }) => {
    const { code, err } = await postern("invite", "agent", "a", "--allow", "w", "--wait", "0");
    assert.equal(code, 1);
    assert.match(err, /no relay has been started there\n {2}Start it once: postern relay --state/);
  }, { noCa: true });
  await network(async ({ postern }) => {
    const { code, err } = await postern("invite", "agent", "a", "--allow", "w", "--wait", "0");
    assert.equal(code, 1);
    assert.match(err, /nobody has said how others reach the relay/);
  }, { noPublic: true });
  const io = createFakeIo({ env: { HOME: "/nonexistent" } });
  assert.equal(await run(["invite", "agent", "a", "--allow", "w", "--wait", "0"], io), 1);
  assert.match(io.written.err, /no relay has been started there/);
});

Deno.test("invite does wait for a relay that is just starting", async () => {
  await network(async ({ postern, store }) => {
    const inviting = postern("invite", "connector", "home", "--service", "web", "--wait", "60");
    await new Promise((go) => setTimeout(go, 150));
    store.setPublicAddresses([{ host: "127.0.0.1", port: 7 }]);
    const { code, out } = await inviting;
    assert.equal(code, 0);
    assert.deepEqual(decoded(out).relays, [{ host: "127.0.0.1", port: 7 }]);
  }, { noPublic: true });
});

Deno.test("grant and revoke does change what an identity may do", async () => {
  await network(async ({ postern, store, join }) => {
    join("agent", "alice", "web");
    join("connector", "home", "web");
    const before = store.version();
    assert.equal(
      (await postern("grant", "alice", "ssh", "dns")).out,
      "agent alice may open: dns, ssh, web\n",
    );
    assert.notEqual(store.version(), before, "a running relay notices");
    assert.equal(
      (await postern("revoke", "alice", "web", "dns")).out,
      "agent alice may open: ssh\n",
    );
    assert.equal(
      (await postern("revoke", "agent", "alice", "ssh")).out,
      "agent alice may open: nothing\n",
    );
    assert.equal(
      (await postern("grant", "connector", "home", "ssh")).out,
      "connector home may offer: ssh, web\n",
    );
    assert.equal((await postern("revoke", "home", "web")).out, "connector home may offer: ssh\n");
    assert.equal((await postern("revoke", "home")).out, "connector home: shut out\n");
    assert.ok(store.isRevoked("connector", "home" as Name));
    await postern("invite", "agent", "bob", "--allow", "web");
    assert.equal((await postern("revoke", "bob")).out, "agent bob: invite is void\n");
  });
});

Deno.test("grant and revoke does refuse with cause and next step", async () => {
  await network(async ({ postern, join }) => {
    join("agent", "both", "web");
    join("connector", "both", "web");
    join("agent", "alice", "web");
    join("agent", "gone", "web");
    await postern("revoke", "gone");
    for (
      const [argv, code, message] of [
        [["grant"], 2, /Cannot grant without/],
        [
          ["grant", "alice"],
          2,
          /Cannot grant nothing to agent "alice"\n {2}Name services: postern grant agent alice web/,
        ],
        [["grant", "alice", "../x"], 2, /"\." is not allowed/],
        [["grant", "Alice", "x"], 2, /"A" is not allowed/],
        [["grant", "nobody", "web"], 1, /none of that name has joined or been invited/],
        [["grant", "gone", "web"], 1, /as it is revoked/],
        [
          ["revoke", "both"],
          1,
          /a connector and an agent have it\n {2}Say which: connector both, or agent both/,
        ],
        [
          ["revoke", "alice", "ssh"],
          1,
          /Cannot take ssh from agent "alice" as it may not open it anyway/,
        ],
        [["revoke", "gone"], 1, /nothing left to take/],
        [["revoke"], 2, /Cannot revoke without/],
      ] as const
    ) {
      const result = await postern(...argv);
      assert.equal(result.code, code, `${argv}: ${result.err}`);
      assert.equal(result.out, "");
      assert.match(result.err, message);
    }
  });
});

Deno.test("identities does list who is there, for people and for programs", async () => {
  await network(async ({ postern, join }) => {
    const empty = await postern("identities");
    assert.deepEqual([empty.code, empty.out], [0, ""]);
    join("agent", "alice", "web", "ssh");
    join("connector", "home", "web");
    await postern("revoke", "home");
    await postern("invite", "agent", "bob", "--allow", "web");
    const { out } = await postern("identities");
    assert.match(out, /^KIND {7}NAME {3}SERVICES {2}STANDING\n/);
    assert.match(out, /^agent {6}alice {2}ssh web {3}joined$/m);
    assert.match(out, /^connector {2}home {3}- {9}revoked \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/m);
    assert.match(out, /^agent {6}bob {4}web {7}invited, for another (1 h|59 min)/m);
    const json = JSON.parse((await postern("identities", "--json")).out);
    assert.equal(json.identities.length, 2);
    assert.deepEqual(json.identities[0].services, ["ssh", "web"]);
    assert.equal(json.invites[0].name, "bob");
    const audit = await postern("identities", "--audit", "2");
    assert.match(
      audit.out,
      /operator {2}revoke {2}connector home\n.*operator {2}invite {2}agent bob: web\n$/,
    );
    assert.doesNotMatch(JSON.stringify(json), /secret/i);
  });
});
