/**
 * The two sockets of connector and agent. Each has a port of its own, so that a firewall can block one path alone.
 * @module
 */
import { UserError } from "../core/mod.ts";
import { bindFailure } from "./listen.ts";
import { openUdpSocket } from "./open.ts";
import type { UdpSocket, UdpSocketOptions } from "./udp_socket.ts";

/** How to open {@linkcode DualSockets}; a port of 0 lets the system choose. */
export interface DualSocketsOptions extends Omit<UdpSocketOptions, "port" | "answerFromAsked"> {
  /** Port of the relay socket. @default 0 */
  readonly relayPort?: number;
  /** Port of the P2P socket. @default 0 */
  readonly p2pPort?: number;
}

/** One socket for the relay, one for peers. */
export interface DualSockets {
  /** Control connection and relayed path. */
  readonly relay: UdpSocket;
  /** Observations, probes and the direct path. */
  readonly p2p: UdpSocket;
  /** Closes both; idempotent. */
  close(): void;
}

/**
 * Opens both, or none.
 *
 * @throws {UserError} naming the flag of the port that cannot be had
 */
export function openDualSockets(options: DualSocketsOptions = {}): DualSockets {
  const { relayPort = 0, p2pPort = 0, ...common } = options;
  if (relayPort !== 0 && relayPort === p2pPort) {
    throw new UserError(
      `Cannot use port ${relayPort} for both --relay-port and --p2p-port as each needs its own`,
      { next: "Choose two different ports, or leave one out" },
    );
  }
  const relay = openNamed("--relay-port", { ...common, port: relayPort });
  try {
    const p2p = openNamed("--p2p-port", { ...common, port: p2pPort });
    return {
      relay,
      p2p,
      close() {
        relay.close();
        p2p.close();
      },
    };
  } catch (error) {
    relay.close();
    throw error;
  }
}

function openNamed(flag: string, options: UdpSocketOptions): UdpSocket {
  try {
    // These write first. Where routes change, the system has to choose their address anew.
    return openUdpSocket({ ...options, answerFromAsked: false });
  } catch (error) {
    if (!(error instanceof UserError) || !options.port) throw error;
    const { reason } = bindFailure(error.cause);
    throw new UserError(`Cannot use UDP port ${options.port} for ${flag} as ${reason}`, {
      next: `Choose another port with ${flag}, or leave ${flag} out to let the system choose`,
      cause: error.cause,
    });
  }
}
