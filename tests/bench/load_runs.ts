/**
 * Runs `load.ts`, on whichever hosts a benchmark plays.
 * @module
 */
import { fromFileUrl } from "../e2e/paths.ts";
import { run } from "../e2e/process.ts";
import { freePort } from "../e2e/scene.ts";
import type { Hosts } from "./place.ts";

const LOAD = fromFileUrl(new URL("load.ts", import.meta.url));
const DENO_RUN = [Deno.execPath(), "run", "-A", "--no-check", "--no-config", LOAD];

/** Starts the server on the connector's host; where it is (`HOST:PORT`). */
export async function startLoadServer(hosts: Hosts): Promise<string> {
  const target = `${hosts.addresses.connector}:${freePort()}`;
  await hosts.start("connector", "load server", [...DENO_RUN, "serve", target]).ready();
  return target;
}

/** Runs a client on the agent's host; what it measured. @throws where it fails, or takes too long */
export async function runLoad<T>(
  hosts: Hosts,
  words: readonly (string | number)[],
  options: { withinMs?: number } = {},
): Promise<T> {
  const [first, ...rest] = hosts.wrap("agent", [...DENO_RUN, ...words.map(String)]);
  const { code, stdout, stderr } = await run(first!, rest, options);
  if (code !== 0) throw new Error(`Cannot measure ${words.join(" ")}: ${stderr}`);
  return JSON.parse(stdout);
}
