/**
 * An attacker with many addresses: `flood_attacker.ts HOST PORT SECONDS PER_SECOND` sends a relay first packets from 1,000
 * addresses that never go on, and begins handshakes from 40 others, which show that they are there and then fall silent. All of
 * these are its own, as in a namespace routes can say (`10.98.0.0/15` is to be local there). Says `flooding`, and when it is over
 * what it did.
 * @module
 */
import { addressOf } from "../../src/core/mod.ts";
import { ALPN_CONTROL, createQuicConfig } from "../../src/quic/mod.ts";
import { EngineConnection } from "../../src/quic/engine.ts";
import { firstPacket } from "../e2e/first_packet.ts";
import { createTestNetwork } from "../helpers/test_network.ts";
import { testSettings } from "../quic/pair.ts";

const STRANGERS = 1_000;
const HOLDERS = 40;
/** In all twice what a relay lets into its table, if all went well for us. */
const HELD_EACH = 60;
const TICK_MS = 10;

const [host, port, seconds, perSecond] = Deno.args as [string, string, string, string];
const to = { transport: "udp", hostname: host, port: Number(port) } as const;
const relay = addressOf(host, Number(port));
const counts = { strangers: 0, answers: 0, begun: 0, shown: 0 };
const until = Date.now() + 1_000 * Number(seconds);

function socketAt(hostname: string): Deno.DatagramConn {
  return Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
}

async function flood(): Promise<void> {
  const sockets = Array.from(
    { length: STRANGERS },
    (_, i) => socketAt(`10.99.${i >> 8}.${1 + (i & 127)}`),
  );
  for (const socket of sockets) {
    (async () => {
      for await (const _ of socket) counts.answers++;
    })().catch(() => {});
  }
  while (Date.now() < until) {
    for (let i = 0; i < Number(perSecond) * TICK_MS / 1_000; i++) {
      const socket = sockets[counts.strangers++ % STRANGERS]!;
      await socket.send(firstPacket(), to).catch(() => {});
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  for (const socket of sockets) socket.close();
}

/** Begins handshakes from one address, answers each Retry, and then says nothing any more. */
async function hold(i: number, config: ReturnType<typeof createQuicConfig>): Promise<void> {
  const socket = socketAt(`10.98.${i}.1`);
  const local = addressOf(`10.98.${i}.1`, (socket.addr as Deno.NetAddr).port);
  const waiting = new Map<string, EngineConnection>();
  const out = new Uint8Array(1_472);
  const say = async (connection: EngineConnection) => {
    for (;;) {
      let made: ReturnType<EngineConnection["send"]>;
      try {
        made = connection.send(out);
      } catch {
        return;
      }
      if (made === null) return;
      await socket.send(out.slice(0, made[0]), to).catch(() => {});
    }
  };
  (async () => {
    for await (const [data] of socket) {
      // A Retry names the client's own id as the one it is for (RFC 9000 §17.2.5).
      const connection = waiting.get(data.slice(6, 6 + data[5]!).join());
      if ((data[0]! & 0xf0) !== 0xf0 || !connection) continue;
      waiting.delete(data.slice(6, 6 + data[5]!).join());
      counts.shown++;
      connection.recv(data, { from: relay, to: local });
      await say(connection);
    }
  })().catch(() => {});
  for (let begun = 0; begun < HELD_EACH && Date.now() < until; begun++) {
    const id = crypto.getRandomValues(new Uint8Array(8));
    const connection = EngineConnection.connect(null, id, local, relay, config);
    waiting.set(id.join(), connection);
    counts.begun++;
    await say(connection);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, until - Date.now())));
  socket.close();
}

const network = await createTestNetwork();
const agent = await network.agent("mallory");
const config = createQuicConfig({
  ...testSettings({ caPem: network.caPem, ...agent }),
  alpn: ALPN_CONTROL,
});
console.log("flooding");
await Promise.all([flood(), ...Array.from({ length: HOLDERS }, (_, i) => hold(i, config))]);
console.log(JSON.stringify(counts));
Deno.exit(0);
