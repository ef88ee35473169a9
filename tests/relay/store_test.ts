import { deepEqual, equal, notEqual, ok, throws } from "node:assert/strict";
import { join } from "node:path";
import { UserError } from "../../src/core/mod.ts";
import { type Name, openStateFolder, StateError } from "../../src/identity/mod.ts";
import { MAX_AUDIT_EVENTS } from "../../src/relay/audit_log.ts";
import { EnrolmentRefusal } from "../../src/relay/enrolment_refusal.ts";
import { RelayStore, STORE_FILE } from "../../src/relay/store.ts";
import { DatabaseSync } from "node:sqlite";

const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;
const [home, alice, web, ssh] = ["home", "alice", "web", "ssh"] as Name[] as [
  Name,
  Name,
  Name,
  Name,
];
const PIN_A = "a".repeat(43);
const PIN_B = "b".repeat(43);
const act = { now: NOW };

async function withFolder(work: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await work(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function withStore(
  work: (store: RelayStore, open: () => Promise<RelayStore>) => void | Promise<void>,
) {
  return withFolder(async (path) => {
    const open = async () =>
      RelayStore.open(await openStateFolder(path, { role: "relay", create: true }), {
        create: true,
      });
    using store = await open();
    await work(store, open);
  });
}

function invite(store: RelayStore, kind: "agent" | "connector", name: Name, services: Name[]) {
  return store.createInvite({ kind, name, services, now: NOW, ttl: HOUR }).secret;
}

function enrolled(
  store: RelayStore,
  kind: "agent" | "connector",
  name: Name,
  services: Name[],
  pin = PIN_A,
) {
  store.redeemInvite({ secret: invite(store, kind, name, services), name, pin, now: NOW });
}

function refuses(work: () => unknown, code: string): void {
  throws(work, (error) => {
    ok(error instanceof EnrolmentRefusal, String(error));
    equal(error.code, code);
    return true;
  });
}

Deno.test("RelayStore.redeemInvite() gives name and services to a key, once", () =>
  withStore((store) => {
    const secret = invite(store, "agent", alice, [web, ssh]);
    equal(store.standingOf({ kind: "agent", name: alice, pin: PIN_A }), "unknown");
    const redeemed = store.redeemInvite({ secret, name: alice, pin: PIN_A, now: NOW });
    deepEqual(redeemed.services, [web, ssh]);
    equal(store.standingOf({ kind: "agent", name: alice, pin: PIN_A }), "good");
    equal(store.standingOf({ kind: "agent", name: alice, pin: PIN_B }), "other-key");
    equal(store.standingOf({ kind: "connector", name: alice, pin: PIN_A }), "unknown");
    deepEqual(store.grantsOf(alice), [ssh, web]);
    refuses(() => store.redeemInvite({ secret, name: alice, pin: PIN_B, now: NOW }), "invite-used");
    // The same key again: its answer was lost.
    equal(store.redeemInvite({ secret, name: alice, pin: PIN_A, now: NOW }).again, true);
  }));

Deno.test("RelayStore.redeemInvite() refuses unknown, expired and misnamed invites", () =>
  withStore((store) => {
    const secret = invite(store, "agent", alice, [web]);
    const request = { secret, name: alice, pin: PIN_A, now: NOW };
    refuses(() => store.redeemInvite({ ...request, secret: new Uint8Array(16) }), "unknown-invite");
    refuses(() => store.redeemInvite({ ...request, now: NOW + HOUR }), "invite-expired");
    refuses(() => store.redeemInvite({ ...request, name: home }), "bad-request");
    equal(store.redeemInvite({ ...request, now: NOW + HOUR - 1 }).again, false);
  }));

Deno.test("RelayStore.redeemInvite() lets one of two processes win", () =>
  withStore(async (store, open) => {
    using other = await open();
    const secret = invite(store, "agent", alice, [web]);
    store.redeemInvite({ secret, name: alice, pin: PIN_A, now: NOW });
    refuses(() => other.redeemInvite({ secret, name: alice, pin: PIN_B, now: NOW }), "invite-used");
    equal(other.identityOf("agent", alice)?.pin, PIN_A);
  }));

Deno.test("RelayStore.createInvite() makes the older waiting invite of that name void", () =>
  withStore((store) => {
    const [first, second] = [
      invite(store, "agent", alice, [web]),
      invite(store, "agent", alice, [web]),
    ];
    refuses(
      () => store.redeemInvite({ secret: first, name: alice, pin: PIN_A, now: NOW }),
      "unknown-invite",
    );
    store.redeemInvite({ secret: second, name: alice, pin: PIN_A, now: NOW });
  }));

Deno.test("RelayStore.createInvite() refuses a name that has joined, and names revoke", () =>
  withStore((store) => {
    enrolled(store, "agent", alice, [web]);
    throws(() => invite(store, "agent", alice, [web]), (error) => {
      ok(error instanceof UserError);
      equal(error.message, `Cannot invite agent "alice" as it has joined already`);
      ok(error.next?.includes("postern revoke agent alice"));
      return true;
    });
    equal(store.revoke("agent", alice, act), "identity");
    enrolled(store, "agent", alice, [ssh], PIN_B);
    deepEqual(store.grantsOf(alice), [ssh]);
    equal(store.standingOf({ kind: "agent", name: alice, pin: PIN_B }), "good");
    equal(store.standingOf({ kind: "agent", name: alice, pin: PIN_A }), "other-key");
  }));

Deno.test("RelayStore.createInvite() refuses times and lists out of bounds", () =>
  withStore((store) => {
    const request = { kind: "agent" as const, name: alice, services: [web], now: NOW };
    for (const ttl of [0, -1, NaN, 31 * 24 * HOUR]) {
      throws(() => store.createInvite({ ...request, ttl }), RangeError);
    }
    const services = Array.from({ length: 257 }, (_, i) => `s${i}` as Name);
    throws(() => store.createInvite({ ...request, ttl: HOUR, services }), RangeError);
  }));

Deno.test("RelayStore.revoke() takes everything and voids what waits", () =>
  withStore((store) => {
    equal(store.revoke("agent", alice, act), undefined);
    const secret = invite(store, "agent", alice, [web]);
    equal(store.revoke("agent", alice, act), "invite");
    refuses(
      () => store.redeemInvite({ secret, name: alice, pin: PIN_A, now: NOW }),
      "unknown-invite",
    );
    enrolled(store, "agent", alice, [web]);
    equal(store.revoke("agent", alice, act), "identity");
    equal(store.revoke("agent", alice, act), undefined);
    equal(store.standingOf({ kind: "agent", name: alice, pin: PIN_A }), "revoked");
    equal(store.isRevoked("agent", alice), true);
    deepEqual(store.grantsOf(alice), []);
    refuses(
      () =>
        store.certificateIssued({ kind: "agent", name: alice, pin: PIN_A }, {
          expires: 1,
          now: NOW,
        }),
      "revoked",
    );
  }));

Deno.test("RelayStore.redeemInvite() refuses the same key again once it is revoked", () =>
  withStore((store) => {
    const secret = invite(store, "agent", alice, [web]);
    store.redeemInvite({ secret, name: alice, pin: PIN_A, now: NOW });
    store.revoke("agent", alice, act);
    refuses(() => store.redeemInvite({ secret, name: alice, pin: PIN_A, now: NOW }), "revoked");
  }));

Deno.test("RelayStore.grant() and ungrant() change what an agent may open", () =>
  withStore((store) => {
    throws(() => store.grant(alice, [ssh], act), /none of that name has joined/);
    enrolled(store, "agent", alice, [web]);
    enrolled(store, "connector", home, [web, ssh]);
    equal(store.isGranted(alice, ssh), false);
    store.grant(alice, [ssh], act);
    equal(store.isGranted(alice, ssh), true);
    deepEqual(store.agentsGranted(ssh), [alice]);
    equal(store.ungrant(alice, [ssh, "never" as Name], act), 1);
    equal(store.isGranted(alice, ssh), false);
    deepEqual(store.connectorsOffering(ssh), [home]);
    deepEqual(store.pinsOffering([ssh, web]), [{ name: home, pin: PIN_A }]);
    store.withdraw(home, [ssh], act);
    deepEqual(store.offersOf(home), [web]);
    store.offer(home, [ssh], act);
    deepEqual(store.offersOf(home), [ssh, web]);
    const many = Array.from({ length: 256 }, (_, i) => `s${i}` as Name);
    throws(() => store.grant(alice, many, act), RangeError);
    deepEqual(store.grantsOf(alice), [web]);
    store.revoke("agent", alice, act);
    throws(() => store.grant(alice, [ssh], act), /as it is revoked/);
  }));

Deno.test("RelayStore.version() changes with every change, of this and of another process", () =>
  withStore(async (store, open) => {
    using other = await open();
    enrolled(store, "agent", alice, [web]);
    let seen = other.version();
    store.grant(alice, [ssh], act);
    notEqual(other.version(), seen);
    seen = other.version();
    equal(other.version(), seen);
    other.grant(alice, ["x" as Name], act);
    notEqual(other.version(), seen);
  }));

Deno.test("RelayStore.open() finds everything again", () =>
  withFolder(async (path) => {
    const folder = await openStateFolder(path, { role: "relay", create: true });
    let secret: Uint8Array;
    {
      using store = RelayStore.open(folder, { create: true });
      secret = invite(store, "agent", alice, [web]);
      enrolled(store, "connector", home, [web]);
      store.setPublicAddresses([{ host: "relay.example.org", port: 4433 }]);
    }
    using store = RelayStore.open(folder, { check: true });
    deepEqual(store.publicAddresses(), [{ host: "relay.example.org", port: 4433 }]);
    equal(store.openInvites(NOW).length, 1);
    equal(store.openInvites(NOW + HOUR).length, 0);
    store.redeemInvite({ secret, name: alice, pin: PIN_B, now: NOW });
    deepEqual(
      store.listIdentities().map(({ kind, name }) => `${kind} ${name}`),
      ["agent alice", "connector home"],
    );
    ok(store.auditLog().map(({ event }) => event).includes("redeem"));
  }));

Deno.test("RelayStore.auditLog() holds no secret", () =>
  withStore((store) => {
    const secret = invite(store, "agent", alice, [web]);
    const text = JSON.stringify(store.auditLog());
    ok(text.includes("agent alice: web"));
    ok(!text.includes(secret.toBase64({ alphabet: "base64url", omitPadding: true })));
    equal(store.auditLog({ limit: 1 }).length, 1);
  }));

Deno.test("RelayStore.audit() drops the events beyond the bound", () =>
  withFolder(async (path) => {
    const folder = await openStateFolder(path, { role: "relay", create: true });
    using store = RelayStore.open(folder, { create: true });
    const event = { at: NOW, actor: "relay", event: "session" };
    for (const detail of ["1", "2", "3"]) store.audit({ ...event, detail });
    const direct = new DatabaseSync(folder.file(STORE_FILE));
    direct.exec(`UPDATE audit SET id = ${MAX_AUDIT_EVENTS + 2} WHERE id = 3`);
    direct.exec(`UPDATE sqlite_sequence SET seq = ${MAX_AUDIT_EVENTS + 2}`);
    direct.close();
    store.audit({ ...event, detail: "4" });
    deepEqual(store.auditLog().map(({ detail }) => detail), ["4", "3"]);
  }));

const posix = Deno.build.os !== "windows";

Deno.test({
  name: "RelayStore.open() makes its files with mode 0600",
  ignore: !posix,
  fn: () =>
    withFolder(async (path) => {
      const folder = await openStateFolder(path, { role: "relay", create: true });
      using store = RelayStore.open(folder, { create: true });
      invite(store, "agent", alice, [web]);
      for (const entry of Deno.readDirSync(path)) {
        equal(Deno.statSync(join(path, entry.name)).mode! & 0o777, 0o600, entry.name);
      }
      equal(Deno.statSync(path).mode! & 0o777, 0o700);
    }),
});

Deno.test("RelayStore.open() refuses what is damaged, foreign, newer or missing, and leaves it alone", () =>
  withFolder(async (path) => {
    const folder = await openStateFolder(path, { role: "relay", create: true });
    const file = folder.file(STORE_FILE);
    const code = (options = {}) => {
      try {
        RelayStore.open(folder, { create: true, ...options }).close();
        return "opened";
      } catch (error) {
        ok(error instanceof StateError && error.next, String(error));
        ok(error.message.includes(STORE_FILE));
        return error.code;
      }
    };
    equal(code({ create: false }), "missing");
    const garbage = new TextEncoder().encode("not a database ".repeat(500));
    Deno.writeFileSync(file, garbage);
    equal(code(), "corrupt");
    deepEqual(Deno.readFileSync(file), garbage);

    Deno.removeSync(file);
    const foreign = new DatabaseSync(file);
    foreign.exec("CREATE TABLE mine (x)");
    foreign.close();
    equal(code(), "corrupt");

    Deno.removeSync(file);
    equal(code(), "opened");
    const newer = new DatabaseSync(file);
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    equal(code(), "newer");
  }));

Deno.test("RelayStore.open() with check finds a damaged page", () =>
  withFolder(async (path) => {
    const folder = await openStateFolder(path, { role: "relay", create: true });
    {
      using store = RelayStore.open(folder, { create: true });
      for (let i = 0; i < 200; i++) enrolled(store, "agent", `a${i}` as Name, [web]);
    }
    const file = folder.file(STORE_FILE);
    const bytes = Deno.readFileSync(file);
    for (let at = 4096; at + 4096 <= bytes.length; at += 4096) bytes.fill(0xee, at, at + 1000);
    Deno.writeFileSync(file, bytes);
    throws(
      () => RelayStore.open(folder, { check: true }),
      (error) => error instanceof StateError && error.code === "corrupt",
    );
  }));
