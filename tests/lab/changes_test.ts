/**
 * A download through the real program while the network changes under it: not a byte may be lost, added or altered.
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Lab } from "./lab.ts";
import { PosternInLab } from "./postern_in_lab.ts";
import { findCommand, skipLab } from "./requirements.ts";
import { webBytes } from "./web_service.ts";

const ignore = skipLab("tests/lab/changes_test.ts") || findCommand("curl") === undefined;

/** Long enough on these links that the change comes while it runs. */
const BYTES = 12_000_000;
/** Bytes that have arrived when the change comes. */
const CHANGE_AT = 2_000_000;

async function hashOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
}

async function sizeOf(file: string): Promise<number> {
  return (await Deno.stat(file).catch(() => undefined))?.size ?? 0;
}

/** What happens to the network. */
interface Change {
  readonly name: string;
  readonly happen: (lab: Lab) => Promise<void>;
  /** Why the program cannot do this yet. */
  readonly notYet?: string;
}

const CHANGES: readonly Change[] = [
  { name: "the agent's NAT rebinds", happen: (lab) => lab.rebind("A") },
  { name: "the connector's NAT rebinds", happen: (lab) => lab.rebind("B") },
  { name: "the agent's public address changes", happen: (lab) => lab.changeAddress("A") },
  { name: "the agent roams to another network", happen: (lab) => lab.roam("agent") },
  {
    name: "the agent roams from IPv4 and IPv6 to IPv6 only",
    happen: (lab) => lab.roam("agent", { v4: false }),
    notYet: "a tunnel does not change its family yet",
  },
  { name: "everything between the sites is cut", happen: (lab) => lab.cutDirect() },
  {
    name: "the agent's link is dead for two seconds",
    happen: async (lab) => {
      await lab.setLink("A", { down: true });
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await lab.setLink("A", { down: false });
    },
  },
];

const stalls: { change: string; path: string; longestStallMs: number }[] = [];

/** The longest time without a new byte from now on until `done`. */
async function watchStalls(file: string, done: Promise<unknown>): Promise<number> {
  let [running, longest, size, since] = [true, 0, await sizeOf(file), performance.now()];
  done.finally(() => running = false).catch(() => {});
  while (running) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const now = performance.now();
    longest = Math.max(longest, now - since);
    const grown = await sizeOf(file);
    if (grown > size) [size, since] = [grown, now];
  }
  return Math.round(longest);
}

async function downloadThrough(lab: Lab, postern: PosternInLab, change: Change): Promise<void> {
  const file = `${postern.folder}/download`;
  const done = postern.curl(`/bytes/${BYTES}`, { args: ["-o", file], withinS: 60 });
  let running = true;
  done.then(() => running = false);
  while (running && await sizeOf(file) < CHANGE_AT) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.ok(running, "the download was over before the change");
  const { path } = await postern.path();
  const stall = watchStalls(file, done);
  await change.happen(lab);
  const { code, stderr } = await done;
  stalls.push({ change: change.name, path, longestStallMs: await stall });
  assert.equal(code, 0, stderr);
  const got = await Deno.open(file);
  assert.equal(await hashOf(got.readable), await hashOf(webBytes(BYTES)));
}

for (const change of CHANGES) {
  const { name, notYet } = change;
  if (notYet !== undefined) console.log(`tests/lab/changes_test.ts: skips "${name}", as ${notYet}`);
  Deno.test({
    name: `postern loses no byte of a download when ${name}`,
    ignore: ignore || notYet !== undefined,
    async fn() {
      // The bottleneck is where direct and relayed packets pass alike.
      await using lab = await Lab.create({ link: { delayMs: 10 }, linkB: { rateMbit: 30 } });
      await using postern = await PosternInLab.start(lab);
      try {
        await downloadThrough(lab, postern, change);
      } catch (error) {
        console.error(postern.logs());
        throw error;
      }
    },
  });
}

Deno.test.afterAll(() => {
  if (stalls.length > 0) console.table(stalls);
});
