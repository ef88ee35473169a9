/**
 * A flow's window against a long and fast path. The path is played in ticks of a millisecond or, on a machine that cannot do
 * 1 Gbit/s, of as long as it takes: the engines measure a round trip in the same time, and all that depends on it scales with it.
 * @module
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { EngineConnection, type NativeConnection } from "../../src/quic/engine.ts";
import { tunnelConfig } from "../../src/roles/tunnel_profile.ts";
import { createTestNetwork } from "../helpers/test_network.ts";

/** A tick is a millisecond of 1 Gbit/s, and a path of 100 ms has 50 each way: 12.5 MB are under way. */
const BYTES_PER_TICK = 125_000;
const TICKS_ONE_WAY = 50;

const CLIENT = { host: "10.0.0.1", port: 1001 };
const SERVER = { host: "10.0.0.2", port: 1002 };

/** One direction: what was sent waits for its turn, and arrives so many ticks later. */
class Pipe {
  readonly #waiting: Uint8Array[] = [];
  readonly #ticks: Uint8Array[][] = Array.from({ length: TICKS_ONE_WAY }, () => []);

  send(packets: Uint8Array[]): void {
    for (const packet of packets) this.#waiting.push(packet);
  }

  /** What arrives now. */
  tick(): Uint8Array[] {
    let [count, bytes] = [0, 0];
    while (count < this.#waiting.length && bytes < BYTES_PER_TICK) {
      bytes += this.#waiting[count++]!.length;
    }
    this.#ticks.push(this.#waiting.splice(0, count));
    return this.#ticks.shift()!;
  }
}

/** All packets that the engine wants sent. */
function take(native: NativeConnection): Uint8Array[] {
  const packets: Uint8Array[] = [];
  const room = new Uint8Array(1_452);
  for (let sent = native.send(room); sent; sent = native.send(room)) {
    packets.push(room.slice(0, sent[0]));
  }
  return packets;
}

/** After how many ticks a stretch of `stretch` began in which so much of the path was used; `undefined`: never. */
async function ticksUntilUsed(
  part: number,
  stretch: number,
  limit: number,
): Promise<number | undefined> {
  const network = await createTestNetwork();
  const { caPem } = network;
  const [alice, home] = [await network.agent("alice"), await network.connector("home")];
  const client = EngineConnection.connect(
    null,
    new Uint8Array(20).fill(1),
    CLIENT,
    SERVER,
    tunnelConfig({ caPem, ...alice }),
  );
  const server = EngineConnection.accept(
    new Uint8Array(20).fill(2),
    null,
    SERVER,
    CLIENT,
    tunnelConfig({ caPem, ...home }),
  );
  const [there, back] = [new Pipe(), new Pipe()];
  const block = new Uint8Array(8 * BYTES_PER_TICK);
  const arrived: number[] = [];
  const begun = performance.now();
  let sum = 0;
  for (let tick = 0; tick < limit; tick++) {
    for (const native of [client, server]) if (native.timeout() === 0) native.onTimeout();
    if (client.isEstablished()) client.streamSend(0, block, false);
    there.send(take(client));
    for (const packet of there.tick()) {
      server.recv(packet, { from: CLIENT, to: SERVER });
    }
    let got = 0;
    while (server.streamReadable(0)) got += server.streamRecv(0, block)?.[0] ?? 0;
    back.send(take(server));
    for (const packet of back.tick()) {
      client.recv(packet, { from: SERVER, to: CLIENT });
    }
    arrived.push(got);
    sum += got - (arrived[tick - stretch] ?? 0);
    if (sum >= part * BYTES_PER_TICK * stretch) return tick - stretch;
    // An idle tick takes its time, too: a round trip is to be always the same.
    do await new Promise<void>((resolve) => setImmediate(resolve)); while (
      performance.now() < begun + tick
    );
  }
  return undefined;
}

Deno.test("tunnelConfig() lets one flow fill 1 Gbit/s at 100 ms", async () => {
  // Headers take 3 % of it. A window of 16 MiB was full at two thirds: the engine moves it on when half of it is used up.
  const ticks = await ticksUntilUsed(0.95, 300, 4_000);
  assert.ok(ticks !== undefined, "the path was never full");
});
