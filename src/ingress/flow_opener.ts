/**
 * What the ways in need of the tunnel, and how a refusal is told in each proxy's own words.
 * @module
 */
import { messageOf } from "../core/mod.ts";
import type { TcpFlow } from "../mux/mod.ts";
import type { HttpStatus } from "./http_connect_codec.ts";
import { SOCKS5_REPLY, type Socks5Reply } from "./socks5_codec.ts";

/** Opens flows to services by name, over whichever tunnel leads there. */
export interface TcpFlowOpener {
  /**
   * @param peer who asked, for logs and status: the local peer's address
   * @throws {FlowRefused} where it is refused before a tunnel is asked; later refusals come by the flow
   */
  openTcp(service: string, peer: string): Promise<TcpFlow>;
}

/** A UDP flow: packets both ways, none of them reliable. */
export interface UdpFlow {
  /** False where the packet was dropped as there is no room. The bytes may be reused after the call. */
  send(packet: Uint8Array): boolean;
  /** Called for each packet that comes back; the array is reused. */
  onPacket: ((packet: Uint8Array) => void) | undefined;
  /** Called once when the flow has ended at the other side. */
  onClose: ((reason: string) => void) | undefined;
  /** Ends it; idempotent. */
  close(): void;
}

/** Opens UDP flows to services by name; fails as {@linkcode TcpFlowOpener.openTcp} does. */
export interface UdpFlowOpener {
  openUdp(service: string, peer: string): Promise<UdpFlow>;
}

/** A refusal as the proxies tell it. */
export interface Refusal {
  readonly socks: Socks5Reply;
  readonly http: HttpStatus;
  /** For people. */
  readonly message: string;
}

/** By the refusal's name; what is not here is a general failure, 502. */
const ANSWERS: ReadonlyMap<string, readonly [Socks5Reply, HttpStatus]> = new Map([
  ["not-granted", [SOCKS5_REPLY.notAllowed, 403]],
  ["revoked", [SOCKS5_REPLY.notAllowed, 403]],
  ["unknown-service", [SOCKS5_REPLY.hostUnreachable, 502]],
  ["offline", [SOCKS5_REPLY.hostUnreachable, 502]],
  ["target-refused", [SOCKS5_REPLY.connectionRefused, 502]],
  ["target-unreachable", [SOCKS5_REPLY.hostUnreachable, 502]],
  ["target-timeout", [SOCKS5_REPLY.ttlExpired, 504]],
]);

/** Reads what opening a flow threw: a `FlowRefused`, or anything. */
export function refusalOf(error: unknown): Refusal {
  const name = (error as { refusal?: unknown } | undefined)?.refusal;
  const [socks, http] = ANSWERS.get(String(name)) ?? [SOCKS5_REPLY.generalFailure, 502];
  return { socks, http, message: messageOf(error) };
}
