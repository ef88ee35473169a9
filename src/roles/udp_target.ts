/**
 * How a connector reaches the UDP service that a flow is for: one socket per flow, so that the service can tell its clients
 * apart and each answer finds its way back.
 * @module
 */
import { lookup } from "node:dns/promises";
import { type Address, addressOf, formatHostPort, messageOf } from "../core/mod.ts";
import { FlowRefused, type PacketConn } from "../mux/mod.ts";
import { openUdpSocket, type UdpSocket } from "../sockets/mod.ts";
import type { ServiceAddress } from "./options.ts";

/**
 * Opens a socket for one flow to a service. Nobody can tell whether anything listens there: that is UDP.
 *
 * @throws {FlowRefused} `target-unreachable` where the name is unknown or there is no socket to be had
 */
export async function openUdpTarget(target: ServiceAddress): Promise<PacketConn> {
  const { service, address } = target;
  try {
    const { address: ip } = await lookup(address.host);
    const to = addressOf(ip, address.port);
    // Portable: it costs little to open, and lets the system cut large packets in fragments.
    const host = to.family === 6 ? "::" : "0.0.0.0";
    return new UdpTarget(openUdpSocket({ host, portable: true }), to);
  } catch (error) {
    throw new FlowRefused(
      "target-unreachable",
      `Cannot open flow to "${service}" as ${
        formatHostPort(address)
      } is out of the connector's reach: ${messageOf(error)}`,
    );
  }
}

class UdpTarget implements PacketConn {
  readonly #socket: UdpSocket;
  readonly #to: Address;

  constructor(socket: UdpSocket, to: Address) {
    this.#socket = socket;
    this.#to = to;
  }

  send(packet: Uint8Array): void {
    // What does not fit the socket's queue is lost, as in any full queue.
    this.#socket.send(this.#to, packet, packet.length);
  }

  receive(take: (packet: Uint8Array) => void): void {
    this.#socket.receive({
      datagrams: (data, segmentSize, from) => {
        // Others who guess the port are nobody.
        if (from.key !== this.#to.key) return;
        for (let at = 0; at < data.length; at += segmentSize) {
          take(data.subarray(at, at + segmentSize));
        }
      },
      batchEnd: () => {},
    });
  }

  close(): void {
    this.#socket.close();
  }
}
