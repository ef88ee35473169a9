import assert from "node:assert/strict";
import { type Address, addressOf, toHex } from "../../src/core/mod.ts";
import type { UdpSocket } from "../../src/sockets/mod.ts";
import {
  RELAYED_AGENT,
  RELAYED_CONNECTOR,
  sealedPrefix,
  SealedRouter,
  TunnelEgress,
} from "../../src/tunnel/mod.ts";

const ID = "0123456789abcdef";
const OTHER_ID = "fedcba9876543210";
const RELAY = addressOf("198.51.100.10", 4433);
const PEER = addressOf("198.51.100.22", 51_001);
const PEER_V6 = addressOf("2001:db8:22::2", 51_001);
const STRANGER = addressOf("203.0.113.66", 666);

interface Sent {
  readonly by: "relay" | "p2p";
  readonly to: string;
  readonly bytes: number;
}

function createEgress(): { egress: TunnelEgress; sent: Sent[] } {
  const sent: Sent[] = [];
  const socket = (by: Sent["by"], port: number) =>
    ({
      local: addressOf("::", port),
      send: (to: Address, data: Uint8Array) => {
        sent.push({ by, to: to.key, bytes: data.length });
        return data.length;
      },
    }) as unknown as UdpSocket;
  const egress = new TunnelEgress(ID, {
    relaySocket: socket("relay", 1000),
    p2pSocket: socket("p2p", 1001),
    directSocket: () => undefined,
    relayAddress: () => RELAY,
  });
  return { egress, sent };
}

function sendRelayed(egress: TunnelEgress, bytes: number): void {
  egress.transmit(RELAYED_AGENT, RELAYED_CONNECTOR, new Uint8Array(bytes), bytes);
}

Deno.test("TunnelEgress.setShortcuts() does send once more past the relay, what was sent already included", () => {
  const { egress, sent } = createEgress();
  sendRelayed(egress, 1200);
  egress.setShortcuts([PEER_V6, PEER]);
  sendRelayed(egress, 100);
  assert.deepEqual(sent, [
    { by: "relay", to: RELAY.key, bytes: 1200 },
    { by: "p2p", to: PEER_V6.key, bytes: 1200 },
    { by: "p2p", to: PEER.key, bytes: 1200 },
    { by: "p2p", to: PEER_V6.key, bytes: 100 },
    { by: "p2p", to: PEER.key, bytes: 100 },
    { by: "relay", to: RELAY.key, bytes: 100 },
  ]);
});

Deno.test("TunnelEgress.setShortcuts() does send little that way, and nothing once it is told so", () => {
  const { egress, sent } = createEgress();
  egress.setShortcuts([PEER]);
  for (let i = 0; i < 1000; i++) sendRelayed(egress, 1200);
  // However often the other end is seen anew.
  egress.setShortcuts([PEER]);
  for (let i = 0; i < 1000; i++) sendRelayed(egress, 1200);
  const short = sent.filter(({ by }) => by === "p2p").reduce((sum, { bytes }) => sum + bytes, 0);
  assert.ok(short > 10_000 && short <= 48 * 1024, `${short} bytes`);
  const { egress: other, sent: otherSent } = createEgress();
  other.setShortcuts([PEER]);
  other.setShortcuts([]);
  sendRelayed(other, 100);
  assert.deepEqual(otherSent.map(({ by }) => by), ["relay"]);
});

function sealed(id: string, packet: Uint8Array): Uint8Array {
  return Uint8Array.of(...sealedPrefix(id), ...packet);
}

Deno.test("SealedRouter.shortcut() does take a tunnel's packets from where its other end is, and from nowhere else", () => {
  const router = new SealedRouter(() => RELAY);
  const got: string[] = [];
  router.add(ID, (packet) => got.push(toHex(packet)));
  const datagram = sealed(ID, Uint8Array.of(0x40, 1, 2));
  const come = (from: Address, data = datagram) => router.shortcut(data, data.length, from);
  come(PEER);
  assert.deepEqual(got, []);
  router.expect(ID, [PEER], "relay");
  come(PEER);
  come(STRANGER);
  come(RELAY);
  come(PEER, sealed(OTHER_ID, Uint8Array.of(0x40)));
  come(PEER, sealed(ID, new Uint8Array(0)));
  assert.deepEqual(got, ["400102"]);
  assert.deepEqual(router.dropped, { wrongSource: 4, unknownTunnel: 0, tooShort: 1 });
});

Deno.test("SealedRouter.expect() does outlive another sink, and does nothing for a tunnel that it does not know", () => {
  const router = new SealedRouter(() => RELAY);
  router.expect(ID, [PEER], "relay");
  const got: string[] = [];
  router.add(ID, () => got.push("first"));
  const datagram = sealed(ID, Uint8Array.of(0x40));
  router.shortcut(datagram, datagram.length, PEER);
  router.expect(ID, [PEER], "relay");
  router.add(ID, () => got.push("second"));
  router.shortcut(datagram, datagram.length, PEER);
  router.remove(ID);
  router.shortcut(datagram, datagram.length, PEER);
  assert.deepEqual(got, ["second"]);
});

Deno.test("SealedRouter.expect() does believe the relay and the other end, each its newest word", () => {
  const router = new SealedRouter(() => RELAY);
  let count = 0;
  router.add(ID, () => count++);
  const datagram = sealed(ID, Uint8Array.of(0x40));
  const come = (from: Address) => router.shortcut(datagram, datagram.length, from);
  router.expect(ID, [PEER], "peer");
  router.expect(ID, [STRANGER], "relay");
  come(PEER);
  come(STRANGER);
  assert.equal(count, 2);
  router.expect(ID, [], "relay");
  come(PEER);
  come(STRANGER);
  assert.equal(count, 3);
});

Deno.test("SealedRouter.shortcut() does take trains apart", () => {
  const router = new SealedRouter(() => RELAY);
  let count = 0;
  router.add(ID, () => count++);
  router.expect(ID, [PEER], "relay");
  const one = sealed(ID, Uint8Array.of(0x40, 9));
  router.shortcut(Uint8Array.of(...one, ...one, ...one), one.length, PEER);
  assert.equal(count, 3);
});
