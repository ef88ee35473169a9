/**
 * A flow's window against a long and fast path. The path is played in ticks of a millisecond or, on a machine that cannot do
 * 1 Gbit/s, of as long as it takes: the engines measure a round trip in the same time, and all that depends on it scales with it.
 * @module
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { EngineConnection, type NativeConnection } from "../../src/quic/engine.ts";
import { MAX_FLOW_WINDOW, tunnelConfig } from "../../src/roles/tunnel_profile.ts";
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

/** A client that sends as much as it may on one stream, and a server that reads it all or nothing. */
class Transfer {
  readonly #client: NativeConnection;
  readonly #server: NativeConnection;
  readonly #there = new Pipe();
  readonly #back = new Pipe();
  readonly #block = new Uint8Array(8 * BYTES_PER_TICK);
  readonly #begun = performance.now();
  #ticks = 0;
  #sent = 0;
  #read = 0;

  private constructor(client: NativeConnection, server: NativeConnection) {
    this.#client = client;
    this.#server = server;
  }

  static async create(): Promise<Transfer> {
    const network = await createTestNetwork();
    const { caPem } = network;
    const [alice, home] = [await network.agent("alice"), await network.connector("home")];
    const id = (first: number) => new Uint8Array(20).fill(first);
    const configs = [tunnelConfig({ caPem, ...alice }), tunnelConfig({ caPem, ...home })] as const;
    return new Transfer(
      EngineConnection.connect(null, id(1), CLIENT, SERVER, configs[0]),
      EngineConnection.accept(id(2), null, SERVER, CLIENT, configs[1]),
    );
  }

  /** What was sent, or may leave at any time, and was not read. */
  get held(): number {
    return this.#sent - this.#read;
  }

  /** Answers how many bytes were read. */
  async tick(reads: boolean): Promise<number> {
    const [client, server] = [this.#client, this.#server];
    for (const native of [client, server]) if (native.timeout() === 0) native.onTimeout();
    if (client.isEstablished()) this.#sent += client.streamSend(0, this.#block, false) ?? 0;
    this.#there.send(take(client));
    for (const packet of this.#there.tick()) server.recv(packet, { from: CLIENT, to: SERVER });
    const before = this.#read;
    while (reads && server.streamReadable(0)) {
      this.#read += server.streamRecv(0, this.#block)?.[0] ?? 0;
    }
    this.#back.send(take(server));
    for (const packet of this.#back.tick()) client.recv(packet, { from: SERVER, to: CLIENT });
    // An idle tick takes its time, too: a round trip is to be always the same.
    this.#ticks++;
    do await new Promise<void>((resolve) => setImmediate(resolve)); while (
      performance.now() < this.#begun + this.#ticks
    );
    return this.#read - before;
  }
}

/** Ticks in which so much of the path must be used. */
const STRETCH = 300;
const MOST_TICKS = 4_000;

Deno.test("tunnelConfig() lets one flow fill 1 Gbit/s at 100 ms, and hold no more than its window when nobody reads", async () => {
  const transfer = await Transfer.create();
  const lately: number[] = [];
  let sum = 0;
  // Headers take 3 % of it. A window of 16 MiB was full at two thirds: the engine moves it on when half of it is used up.
  while (sum < 0.95 * BYTES_PER_TICK * STRETCH) {
    assert.ok(lately.length < MOST_TICKS, "the path was never full");
    const got = await transfer.tick(true);
    lately.push(got);
    sum += got - (lately[lately.length - 1 - STRETCH] ?? 0);
  }
  for (let i = 0; i < 5 * TICKS_ONE_WAY; i++) await transfer.tick(false);
  assert.ok(transfer.held > 2 * TICKS_ONE_WAY * BYTES_PER_TICK, `${transfer.held} bytes`);
  assert.ok(transfer.held <= MAX_FLOW_WINDOW, `${transfer.held} bytes`);
});
