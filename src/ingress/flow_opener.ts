/**
 * What the ways in need of the tunnel, and how a refusal is told in each proxy's own words.
 * @module
 */
import { messageOf } from "../core/mod.ts";
import type { TcpFlow, UdpFlow } from "../mux/mod.ts";
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
