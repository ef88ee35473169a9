/**
 * Runs inside an empty network namespace: changes its interfaces, and prints how soon each change was told and what was known
 * of the way to two addresses then.
 * @module
 */
import { addressOf } from "../../src/core/mod.ts";
import { sourceTowards, watchNetwork } from "../../src/sockets/mod.ts";
import { runCommand } from "./namespaces.ts";

const [V4, V6] = [addressOf("198.51.100.10", 4433), addressOf("2001:db8::10", 4433)];

let told = 0;
const watch = watchNetwork(() => told++);
const results: unknown[] = [];
const ip = (...args: string[]) => runCommand("ip", ...args);
const quiet = () => new Promise((resolve) => setTimeout(resolve, 50));

async function step(what: string, ...args: string[]): Promise<void> {
  await quiet();
  const before = told;
  const at = performance.now();
  const done = ip(...args);
  while (told === before && performance.now() - at < 2_000) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const ms = performance.now() - at;
  await done;
  await quiet();
  const [v4, v6] = [sourceTowards(V4), sourceTowards(V6)];
  results.push({ what, told: told > before, ms, v4, v6 });
}

await ip("link", "add", "d0", "type", "veth", "peer", "name", "d1");
await ip("link", "set", "d1", "up");
await step("link", "link", "set", "d0", "up");
await step("address", "addr", "add", "10.91.0.2/24", "dev", "d0");
await step("route", "route", "add", "default", "via", "10.91.0.1");
await step("IPv6", "addr", "add", "fd91::2/64", "dev", "d0", "nodad");
await step("IPv6 route", "route", "add", "default", "via", "fd91::1", "dev", "d0");
await step("down", "link", "set", "d0", "down");
await quiet();
const idle = told;
await new Promise((resolve) => setTimeout(resolve, 200));
watch?.close();
watch?.close();
const closed = told;
await ip("link", "set", "d0", "up");
await quiet();
console.log(JSON.stringify({ results, idle: closed - idle, afterClose: told - closed }));
