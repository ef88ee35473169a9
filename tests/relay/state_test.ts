import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import { SILENT_LOGGER } from "../../src/core/mod.ts";
import {
  createKeyPair,
  type Name,
  StateError,
  type StateErrorCode,
} from "../../src/identity/mod.ts";
import { loadTicketKey, openRelayState } from "../../src/relay/mod.ts";

const NOW = 1_800_000_000_000;
const DAY = 86_400_000;

async function withTemp(work: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await work(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

const start = (path: string, options: { caKey?: string; now?: number } = {}) =>
  openRelayState(path, { now: NOW, create: true, ...options });

function refused(work: Promise<unknown>, code: StateErrorCode, text: string): Promise<void> {
  return rejects(work, (error) => {
    ok(error instanceof StateError && error.next, String(error));
    equal(error.code, code, error.message);
    ok(error.message.includes(text), error.message);
    return true;
  });
}

Deno.test("openRelayState() makes a network once, and finds it again", () =>
  withTemp(async (temp) => {
    const path = join(temp, "r");
    await refused(openRelayState(path, { now: NOW }), "missing", "no relay has been started");
    let networkId, keyPem;
    {
      using state = await start(path);
      networkId = state.authority.networkId;
      ({ keyPem } = await state.authority.relayCertificate(NOW));
      ok(state.authority.canSign);
    }
    using state = await openRelayState(path, { now: NOW });
    equal(state.authority.networkId, networkId);
    equal((await state.authority.relayCertificate(NOW)).keyPem, keyPem);
    if (Deno.build.os !== "windows") {
      for (const { name } of Deno.readDirSync(path)) {
        equal(Deno.statSync(join(path, name)).mode! & 0o777, 0o600, name);
      }
    }
  }));

Deno.test("openRelayState() makes nothing anew where a network was", () =>
  withTemp(async (path) => {
    {
      using state = await start(path);
      const request = { kind: "agent" as const, name: "a" as Name, services: [], now: NOW };
      state.store.createInvite({ ...request, ttl: DAY });
    }
    const [ca, store] = [join(path, "ca.pem"), join(path, "relay.sqlite")];
    const pem = await Deno.readTextFile(ca);
    await Deno.remove(ca);
    await refused(start(path), "missing", "ca.pem");
    await Deno.writeTextFile(ca, "nonsense");
    await refused(start(path), "corrupt", "ca.pem");
    await Deno.writeTextFile(ca, pem);
    await Deno.rename(store, `${store}.away`);
    for (const end of ["-wal", "-shm"]) await Deno.remove(store + end).catch(() => {});
    await refused(start(path), "missing", "relay.sqlite");
    await Deno.writeTextFile(store, "");
    await refused(start(path), "missing", "relay.sqlite");
    await Deno.rename(`${store}.away`, store);
    (await start(path))[Symbol.dispose]();
    await Deno.writeTextFile(join(path, "ca.key"), (await createKeyPair()).privateKeyPem);
    await refused(start(path), "corrupt", "ca.key");
    await Deno.writeTextFile(join(path, "ca.key"), "nonsense");
    await refused(start(path), "corrupt", "ca.key");
  }));

Deno.test("RelayAuthority keeps its CA's key elsewhere, and serves without it", () =>
  withTemp(async (temp) => {
    const [path, caKey] = [join(temp, "r"), join(temp, "ca.key")];
    let certificate;
    {
      using state = await start(path, { caKey });
      certificate = await state.authority.relayCertificate(NOW);
      ok(!await state.folder.read("ca.key"));
    }
    if (Deno.build.os !== "windows") equal(Deno.statSync(caKey).mode! & 0o777, 0o600);
    {
      using state = await start(path);
      equal(state.authority.canSign, false);
      deepEqual(await state.authority.relayCertificate(NOW + 6 * DAY), certificate);
      await refused(state.authority.relayCertificate(NOW + 8 * DAY), "missing", "has expired");
      const { publicKey } = await createKeyPair();
      const request = { kind: "agent" as const, name: "a" as Name, publicKey };
      await rejects(state.authority.issue(request, { now: NOW }), { code: "not-signing" });
    }
    {
      using state = await start(path, { caKey });
      notEqual(
        (await state.authority.relayCertificate(NOW + 8 * DAY)).certPem,
        certificate.certPem,
      );
    }
    await Deno.remove(caKey);
    await refused(start(path, { caKey }), "missing", "ca.key");
  }));

Deno.test("RelayAuthority.relayCertificate() renews under the same key when a third is left", () =>
  withTemp(async (path) => {
    using state = await start(path);
    const first = await state.authority.relayCertificate(NOW);
    equal(await state.authority.relayCertificate(NOW + 4 * DAY), first);
    const second = await state.authority.relayCertificate(NOW + 5 * DAY);
    notEqual(second.certPem, first.certPem);
    equal(second.keyPem, first.keyPem);
    equal(second.notAfter, NOW + 12 * DAY);
  }));

Deno.test("RelayAuthority.relayCertificate() sets a damaged file aside and makes another", () =>
  withTemp(async (path) => {
    {
      using state = await start(path);
      await state.authority.relayCertificate(NOW);
    }
    await Deno.writeTextFile(join(path, "relay.pem"), "nonsense");
    using state = await start(path);
    ok(await state.authority.relayCertificate(NOW));
    equal(await state.folder.readText("relay.pem.damaged"), "nonsense");
  }));

Deno.test("loadTicketKey() keeps the key over restarts, and replaces an old or damaged one", () =>
  withTemp(async (path) => {
    using state = await start(path);
    const load = (now: number) => loadTicketKey(state.folder, { now, log: SILENT_LOGGER });
    const first = await load(NOW);
    equal(first.key.length, 48);
    deepEqual(await load(NOW + DAY), first);
    notEqual((await load(NOW + 8 * DAY)).key.toHex(), first.key.toHex());
    await state.folder.write("ticket.key", "damaged");
    equal((await load(NOW)).key.length, 48);
  }));
