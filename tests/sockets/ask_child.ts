/**
 * Runs inside a network namespace: asks `port` at each host, each from a socket of its own that has never been used, and
 * prints where the answers came from: `{ host: "host:port" | "none" }`.
 * @module
 */
import { addressOf } from "../../src/core/mod.ts";
import { openUdpSocket } from "../../src/sockets/mod.ts";

/** A wait for what may never come, in milliseconds. */
const PATIENCE = 300;

async function ask(host: string, port: number): Promise<string> {
  const socket = openUdpSocket();
  const { promise, resolve } = Promise.withResolvers<string>();
  socket.receive({ datagrams: (_data, _size, from) => resolve(from.key), batchEnd() {} });
  socket.send(addressOf(host, port), new Uint8Array(100), 100);
  const limit = setTimeout(() => resolve("none"), PATIENCE);
  const from = await promise;
  clearTimeout(limit);
  socket.close();
  return from;
}

const [port, ...hosts] = Deno.args;
const answers = await Promise.all(hosts.map(async (host) => [host, await ask(host, Number(port))]));
console.log(JSON.stringify(Object.fromEntries(answers)));
