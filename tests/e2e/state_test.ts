/**
 * State folders that are not as they should be: every file of every role empty, cut and overwritten; in use; of another role
 * or version. Each is refused in words that name the file, or mended; nothing is thrown away silently, and nothing crashes.
 * @module
 */
import assert from "node:assert/strict";
import { UserError } from "../../src/core/mod.ts";
import { exchange, Stage, type StageRole } from "./stage.ts";

type RoleName = "relay" | "connector" | "agent";

/** Files without which no trust is lost: they are made anew, at the cost of a round trip or two. */
const MENDED: ReadonlySet<string> = new Set([
  "lock",
  "relay.pem",
  "ticket.key",
  "tickets.json",
  "early.mark",
]);

async function settle(role: StageRole): Promise<"ready" | "refused" | "waiting"> {
  for (let i = 0; i < 400; i++) {
    if (role.ended) return "refused";
    if (role.said.some((line) => / ready/.test(line))) return "ready";
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return "waiting";
}

async function readFolder(path: string): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for await (const { name, isFile } of Deno.readDir(path)) {
    if (isFile) files.set(name, await Deno.readFile(`${path}/${name}`));
  }
  return files;
}

async function writeFolder(
  path: string,
  files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>,
): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch(() => {});
  await Deno.mkdir(path, { mode: 0o700 });
  for (const [name, data] of files) await Deno.writeFile(`${path}/${name}`, data, { mode: 0o600 });
}

/** What a disk, an editor or a bad copy may make of a file. */
const DAMAGES: Readonly<Record<string, (data: Uint8Array) => Uint8Array<ArrayBuffer>>> = {
  empty: () => new Uint8Array(0),
  cut: (data) => data.slice(0, data.length >> 1),
  zeros: (data) => new Uint8Array(data.length),
  rubbish: (data) => data.map((byte, at) => byte ^ (at * 37 + 11)).slice(),
  "other JSON": () => new TextEncoder().encode('{"format":1,"role":[],"x":{"y":null}}'),
};

Deno.test("every file of every state folder, damaged in every way, is refused by name or mended", async (t) => {
  await using stage = new Stage();
  const relay = await stage.relay().ready();
  const { home, alice, local } = await stage.join();
  assert.equal(await exchange(local, "hello\n"), "hello\n");
  await alice.stop();
  await home.stop();
  await relay.stop();
  const roles: readonly [RoleName, (state: string) => StageRole][] = [
    ["relay", () => stage.relay()],
    ["connector", (state) => stage.connector({ state })],
    ["agent", (state) => stage.agent({ state })],
  ];
  const good = new Map<RoleName, Map<string, Uint8Array<ArrayBuffer>>>();
  for (const [name] of roles) good.set(name, await readFolder(stage.path(name)));

  for (const [name, start] of roles) {
    const files = good.get(name)!;
    const state = stage.path(name);
    // The others run, so that whoever can serve does.
    const serving = name === "relay" ? undefined : await stage.relay().ready();
    for (const [file, data] of files) {
      for (const [damage, damaged] of Object.entries(DAMAGES)) {
        await t.step(`${name}: ${file}: ${damage}`, async () => {
          const bad = damaged(data);
          await writeFolder(state, new Map([...files, [file, bad]]));
          const role = start(state);
          const outcome = await settle(role);
          if (outcome === "refused") {
            assert.ok(role.failure instanceof UserError, String(role.failure));
            assert.ok(role.failure.next, `it says what to do: ${role.failure.message}`);
            assert.ok(
              role.failure.message.includes(file) || file === "postern.json",
              role.failure.message,
            );
            // Not overwritten: somebody may still make something of it.
            assert.deepEqual(await Deno.readFile(`${state}/${file}`), bad);
            return;
          }
          await role.stop();
          assert.equal(outcome, "ready", role.text);
          assert.ok(MENDED.has(file), `${file} (${damage}) was taken as it was`);
        });
      }
    }
    await serving?.stop();
    await writeFolder(state, files);
  }
  await t.step("restored, all works as before", async () => {
    await stage.relay().ready();
    await stage.connector().ready();
    await stage.agent().ready();
    assert.equal(await exchange(local, "hello\n"), "hello\n");
  });
});

Deno.test("a state folder is one process's, one role's, and no newer version's", async () => {
  await using stage = new Stage();
  const relay = await stage.relay().ready();
  const { home, alice, local } = await stage.join();
  const refusal = async (role: StageRole): Promise<string> => {
    await role.finished;
    assert.ok(role.failure instanceof UserError, String(role.failure));
    assert.ok(role.failure.next);
    return role.failure.message;
  };
  assert.match(await refusal(stage.relay()), /another relay .*is using it/);
  assert.match(await refusal(stage.connector()), /another connector .*is using it/);
  assert.match(await refusal(stage.agent()), /another agent .*is using it/);
  assert.equal(await exchange(local, "hello\n"), "hello\n", "those who were first go on");
  await alice.stop();
  assert.match(await refusal(stage.connector({ state: alice.state })), /another role's: agent/);
  await Deno.writeTextFile(`${alice.state}/postern.json`, '{"format": 99, "shape": ["new"]}');
  assert.match(await refusal(stage.agent()), /newer version .*format 99/);
  assert.match(
    await refusal(stage.agent({ state: stage.path("none") })),
    /no agent has been started/,
  );
  await Deno.mkdir(stage.path("photos"));
  await Deno.writeTextFile(stage.path("photos/cat.jpg"), "");
  const inPhotos = stage.agent({
    state: stage.path("photos"),
    invite: await stage.invite("agent", "bob"),
  });
  assert.match(await refusal(inPhotos), /holds other files, such as "cat.jpg"/);
  await home.stop();
  await relay.stop();
});

Deno.test("ports in use are named with the flag that chooses another", async () => {
  await using stage = new Stage();
  await stage.relay().ready();
  const busy = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
  stage.atEnd(() => busy.close());
  const { port } = busy.addr as Deno.NetAddr;
  for (const flag of ["relayPort", "p2pPort"] as const) {
    const name = flag === "relayPort" ? "relay-port" : "p2p-port";
    const role = stage.connector({
      state: stage.path(flag),
      invite: await stage.invite("connector", name),
      services: { web: 9 },
      more: { [flag]: port },
    });
    await role.finished;
    assert.ok(role.failure instanceof UserError);
    assert.match(role.failure.message, new RegExp(`UDP port ${port} for --${name} as another`));
    assert.match(role.failure.next!, new RegExp(`--${name}`));
  }
  // A port that is taken cost nobody an invite.
  assert.deepEqual(
    await Deno.lstat(stage.path("relayPort/identity.json")).catch(() => "none"),
    "none",
  );
});
