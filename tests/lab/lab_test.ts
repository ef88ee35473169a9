import assert from "node:assert/strict";
import { startCapture } from "./capture.ts";
import { Lab } from "./lab.ts";
import { checkLab, observe, withReflector } from "./nat_check.ts";
import { listNamespaces, runCommand, setUpNode } from "./namespaces.ts";
import { natRuleset } from "./nat_rules.ts";
import type { LabOptions } from "./options.ts";
import { RELAY } from "./plan.ts";
import { labFolder } from "./record.ts";
import { skipLab } from "./requirements.ts";
import { sendStream } from "./stream_probe.ts";

const ignore = skipLab("tests/lab/lab_test.ts");

/** Every kind of NAT and of IPv6 at least once. */
const LABS: LabOptions[] = [
  { a: "none", b: "symmetric" },
  { a: "full-cone", b: "port-restricted", v6: "open" },
  { a: "restricted", b: "symmetric", v6: "broken-b" },
  { a: "port-restricted", b: "symmetric", v6: "off", sameSubnet: true },
  { a: "udp-blocked", b: "full-cone" },
  { a: "cgnat-full-cone", b: "cgnat-restricted", v6: "absent-a" },
  { a: "cgnat-port-restricted", b: "cgnat-symmetric", v6: "broken-a" },
  { a: "restricted", b: "restricted", v6: "absent-b", wire: "plain" },
  { a: "port-restricted", lan: true },
];

for (const options of LABS) {
  Deno.test({
    name: `Lab.create() makes the network asked for: ${JSON.stringify(options)}`,
    ignore,
    async fn() {
      await using lab = await Lab.create({ link: { delayMs: 5 }, ...options });
      const findings = await checkLab(lab);
      assert.ok(findings.length >= 4);
      assert.deepEqual(findings.filter(({ ok }) => !ok), []);
    },
  });
}

Deno.test({
  name: "checkLab() finds a NAT that is not what was asked for",
  ignore,
  async fn() {
    await using lab = await Lab.create({ a: "port-restricted", b: "port-restricted" });
    const rules = natRuleset({
      kind: "symmetric",
      sources: [{ from: "0.0.0.0/0", to: lab.addresses("agent").publicV4 }],
      zone: 7,
      portMask: 0,
      timeoutSeconds: 30,
      v6Firewall: false,
    });
    await setUpNode(lab.namespace("natA"), { nft: rules });
    const wrong = (await checkLab(lab)).filter(({ ok }) => !ok).map(({ what }) => what);
    assert.deepEqual(wrong, ["agent IPv4", "agent IPv6", "plain punching over IPv4"]);
  },
});

async function reaches(lab: Lab, from: "agent" | "connector", to: string): Promise<boolean> {
  const args = ["-c3", "-i0.05", "-W1", to];
  return (await lab.exec(from, "ping", args)).code === 0;
}

Deno.test({
  name: "Lab.setLink() delays every packet by at least what was asked for",
  ignore,
  async fn() {
    await using lab = await Lab.create({ link: { delayMs: 10 } });
    const fastest = async (to: string) => {
      const { stdout } = await lab.exec("agent", "ping", ["-c10", "-i0.02", to]);
      const ms = [...stdout.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time));
      assert.ok(ms.length === 10, stdout);
      return Math.min(...ms);
    };
    assert.ok(await fastest(RELAY.v4[0]) >= 40);
    assert.ok(await fastest(RELAY.v6[0]) >= 40);
    await lab.setLink("A", { delayMs: 30 });
    assert.ok(await fastest(RELAY.v4[0]) >= 80);
    await lab.setLink("A", { out: { delayMs: 0 }, in: { delayMs: 70 } });
    assert.ok(await fastest(RELAY.v4[0]) >= 90);
  },
});

Deno.test({
  name: "Lab.setLink() loses, doubles, reorders and damages the share asked for",
  ignore,
  async fn() {
    // Bounds are five standard deviations wide or more; the seed makes runs alike all the same.
    await using lab = await Lab.create({ seed: 7 });
    const count = 2000;
    const between = (value: number, low: number, high: number) =>
      assert.ok(low <= value && value <= high, `${value} is not within ${low} to ${high}`);
    // Small and slow enough for a receiver that is kept from the processor for a while: its buffer loses nothing.
    const run = () => sendStream(lab, "agent", "relay", { count, size: 200, gapMs: 5 });
    const clean = await run();
    assert.deepEqual(clean, { received: count, duplicated: 0, reordered: 0, damaged: 0 });
    await lab.setLink("A", { lossPercent: 20 });
    between((await run()).received, 1500, 1700);
    await lab.setLink("A", { lossPercent: 20, lossBurst: 8 });
    between((await run()).received, 1250, 1950);
    await lab.setLink("A", { lossPercent: 0, duplicatePercent: 10 });
    const doubled = await run();
    assert.equal(doubled.received, count);
    between(doubled.duplicated, 130, 270);
    await lab.setLink("A", { duplicatePercent: 0, reorderPercent: 5 });
    const mixed = await run();
    assert.equal(mixed.received, count);
    between(mixed.reordered, 50, 150);
    await lab.setLink("A", { reorderPercent: 0, corruptPercent: 10 });
    const damaged = await run();
    assert.equal(damaged.received + damaged.damaged, count);
    between(damaged.damaged, 130, 270);
    const counted = (await lab.linkCounters()).get("A out")!;
    assert.ok(counted.corrupted >= damaged.damaged);
    await assert.rejects(lab.setLink("A", { lossPercent: 120 }), /out of range/);
  },
});

Deno.test({
  name: "Lab.setLink() drops what finds the queue full, and everything when down",
  ignore,
  async fn() {
    await using lab = await Lab.create({ linkA: { rateMbit: 1, queueKib: 16 } });
    const { received } = await sendStream(lab, "agent", "relay", { count: 300 });
    const { overflowed } = (await lab.linkCounters()).get("A out")!;
    assert.ok(received >= 15 && overflowed > 0, `${received} received, ${overflowed} overflowed`);
    assert.equal(received + overflowed, 300);
    await lab.setLink("A", { rateMbit: 0, down: true });
    assert.equal(await reaches(lab, "agent", RELAY.v4[0]), false);
    await lab.setLink("A", { down: false });
    assert.equal(await reaches(lab, "agent", RELAY.v4[0]), true);
  },
});

Deno.test({
  name: "Lab.rebind(), changeAddress() and roam() change how the internet sees a host",
  ignore,
  async fn() {
    for (const a of ["port-restricted", "cgnat-port-restricted"] as const) {
      await using lab = await Lab.create({ a });
      await withReflector(lab, async () => {
        const seen = () => observe(lab, "agent", { port: 5555 });
        const first = await seen();
        assert.equal(first?.split("|")[0], lab.addresses("agent").publicV4);
        assert.equal(await seen(), first);
        await lab.rebind("A");
        const second = await seen();
        assert.equal(second?.split("|")[0], first?.split("|")[0]);
        assert.notEqual(second, first);
        await lab.changeAddress("A");
        assert.equal((await seen())?.split("|")[0], "198.51.100.121");
        assert.equal(lab.addresses("agent").publicV4, "198.51.100.121");
        await lab.roam("agent");
        assert.equal((await seen())?.split("|")[0], "198.51.100.221");
        await lab.roam("agent", { v4: false });
        assert.equal(await seen(), null);
        assert.match(
          await observe(lab, "agent", { port: 5555, family: 6 }) ?? "",
          /2001:db8:21::2/,
        );
      });
    }
  },
});

Deno.test({
  name: "Lab.blockUdp(), dropV6(), cutDirect() and interfaceDown() cut that and no more",
  ignore,
  async fn() {
    await using lab = await Lab.create({ a: "none", b: "none", v6: "open" });
    const toConnector = lab.addresses("connector");
    await withReflector(lab, async () => {
      await lab.blockUdp("A", { port: 5555 });
      assert.equal(await observe(lab, "agent", { port: 5555 }), null);
      assert.notEqual(await observe(lab, "agent", { port: 5556 }), null);
      await lab.blockUdp("A");
      assert.equal(await observe(lab, "agent", { port: 5556 }), null);
      assert.equal(await reaches(lab, "agent", RELAY.v4[0]), true);
      await lab.unblockUdp("A");
      assert.notEqual(await observe(lab, "agent", { port: 5555 }), null);
    });
    await lab.dropV6("A");
    assert.equal(await reaches(lab, "agent", RELAY.v6[0]), false);
    assert.equal(await reaches(lab, "agent", RELAY.v4[0]), true);
    await lab.restoreV6("A");
    assert.equal(await reaches(lab, "agent", RELAY.v6[0]), true);
    await lab.cutDirect();
    assert.equal(await reaches(lab, "agent", toConnector.v4), false);
    assert.equal(await reaches(lab, "agent", toConnector.v6!), false);
    assert.equal(await reaches(lab, "agent", RELAY.v6[0]), true);
    await lab.healDirect();
    assert.equal(await reaches(lab, "agent", toConnector.v6!), true);
    await lab.interfaceDown("agent");
    assert.equal(await reaches(lab, "agent", RELAY.v4[0]), false);
    await lab.interfaceUp("agent");
    assert.equal(await reaches(lab, "agent", RELAY.v4[0]), true);
    assert.equal(await reaches(lab, "agent", RELAY.v6[0]), true);
  },
});

Deno.test({
  name: "Lab.destroy() leaves nothing of its own and everything of others",
  ignore,
  async fn() {
    await using other = await Lab.create();
    const lab = await Lab.create();
    const program = lab.spawn("agent", "sh", ["-c", "trap '' TERM; while :; do sleep 1; done"]);
    const emulated = await lab.linkCounters();
    assert.equal(emulated.size, 6);
    await lab.destroy();
    await lab.destroy();
    assert.equal((await program.status).signal, "SIGKILL");
    const left = (await listNamespaces()).filter((name) => name.startsWith(`pl-${lab.id}-`));
    assert.deepEqual(left, []);
    await assert.rejects(Deno.stat(labFolder(lab.id)));
    assert.equal(await reaches(other, "agent", RELAY.v4[0]), true);
  },
});

Deno.test({
  name: "Lab.create() removes the labs of processes that died, and those alone",
  ignore,
  async fn() {
    await using living = await Lab.create();
    const program = `import { Lab } from ${JSON.stringify(import.meta.resolve("./lab.ts"))};
      console.log((await Lab.create()).id); Deno.kill(Deno.pid, "SIGKILL");`;
    const path = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(path, program);
      const config = new URL("../../deno.json", import.meta.url).pathname;
      const args = ["run", "-A", "--no-check", "--config", config, path];
      const { stdout } = await runCommand(Deno.execPath(), args);
      const dead = `pl-${stdout.trim()}-agent`;
      assert.ok((await listNamespaces()).includes(dead), stdout);
      await using _next = await Lab.create();
      assert.equal((await listNamespaces()).includes(dead), false);
      assert.equal(await reaches(living, "agent", RELAY.v4[0]), true);
    } finally {
      await Deno.remove(path);
    }
  },
});

Deno.test({
  name: "startCapture() finds plain text at the relay, and none that was not sent",
  ignore,
  async fn() {
    await using lab = await Lab.create();
    const capture = await startCapture(lab);
    await sendStream(lab, "agent", "relay", { count: 20 });
    const message = "GET /plain-as-can-be HTTP/1.1";
    const args = ["-c", `printf '%s' '${message}' > /dev/udp/${RELAY.v4[0]}/7777`];
    assert.equal((await lab.exec("agent", "bash", args)).code, 0);
    const captured = await capture.stop();
    assert.equal(captured.truncated, false);
    assert.ok(captured.bytes > 20 * 1000);
    assert.equal(captured.has(message), true);
    assert.equal(captured.has("GET /never-sent"), false);
  },
});
