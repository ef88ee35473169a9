import assert from "node:assert/strict";
import { UserError } from "../../src/core/mod.ts";
import { openStateFolder, saveSettings, StateError } from "../../src/identity/mod.ts";
import type { ServiceAddress } from "../../src/roles/options.ts";
import { rememberEntrances, rememberOffers } from "../../src/roles/remembered.ts";

async function withFolder(work: (folder: Awaited<ReturnType<typeof openStateFolder>>) => unknown) {
  const path = await Deno.makeTempDir();
  try {
    await work(await openStateFolder(path, { role: "agent", create: true }));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

const NOTHING = { services: [], noEarlyDataFor: [] };

const WEB: ServiceAddress = {
  service: "web",
  protocol: "tcp",
  address: { host: "::1", port: 9000 },
};

Deno.test("rememberEntrances() does answer what was given last, proxies alone included", () =>
  withFolder(async (folder) => {
    await assert.rejects(
      rememberEntrances(folder, { forwards: [] }),
      (error) => error instanceof UserError && error.next === "postern agent SERVICE=PORT",
    );
    const given = { forwards: [WEB], socks: { host: "127.0.0.1", port: 1080 } };
    assert.deepEqual(await rememberEntrances(folder, given), given);
    const kept = await rememberEntrances(folder, { forwards: [] });
    assert.deepEqual(kept, { ...given, httpProxy: undefined });
    const proxy = { forwards: [], httpProxy: { host: "::1", port: 8118 } };
    await rememberEntrances(folder, proxy);
    const after = await rememberEntrances(folder, { forwards: [] });
    assert.deepEqual(after, { ...proxy, socks: undefined });
  }));

Deno.test("rememberOffers() does answer what was given last", () =>
  withFolder(async (folder) => {
    await assert.rejects(rememberOffers(folder, NOTHING), UserError);
    await rememberOffers(folder, { ...NOTHING, services: [WEB] });
    assert.deepEqual(await rememberOffers(folder, NOTHING), { ...NOTHING, services: [WEB] });
  }));

Deno.test("rememberOffers() does keep what is out of early data, and takes no name that is not offered", () =>
  withFolder(async (folder) => {
    // As an older version has written it.
    await saveSettings(folder, { services: [{ ...WEB, address: "[::1]:9000" }] });
    const kept = { services: [WEB], noEarlyDataFor: ["web"] };
    assert.deepEqual(await rememberOffers(folder, { ...kept, services: [] }), kept);
    assert.deepEqual(await rememberOffers(folder, NOTHING), kept);
    for (const services of [[], [WEB]]) {
      await assert.rejects(
        rememberOffers(folder, { services, noEarlyDataFor: ["wbe"] }),
        (error) => error instanceof UserError && error.next?.endsWith("one of: web") === true,
      );
    }
    assert.deepEqual(await rememberOffers(folder, NOTHING), kept);
    // Targets given anew without it: it is over.
    await rememberOffers(folder, { ...NOTHING, services: [WEB] });
    assert.deepEqual(await rememberOffers(folder, NOTHING), { ...NOTHING, services: [WEB] });
  }));

Deno.test("rememberEntrances() does call settings damaged that no start has written", () =>
  withFolder(async (folder) => {
    for (
      const forward of [
        { ...WEB, address: "9000" },
        { ...WEB, address: "[::1]:99999" },
        { ...WEB, service: "../x", address: "[::1]:1" },
        { ...WEB, protocol: "sctp", address: "[::1]:1" },
      ]
    ) {
      await saveSettings(folder, { forwards: [forward] });
      await assert.rejects(
        rememberEntrances(folder, { forwards: [] }),
        (error) => error instanceof StateError && error.code === "corrupt",
        JSON.stringify(forward),
      );
    }
  }));
