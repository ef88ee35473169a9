/**
 * How applications enter at the agent.
 *
 * @module
 */
export type { LocalListener } from "./accept_loop.ts";
export type { TcpFlowOpener, UdpFlowOpener } from "./flow_opener.ts";
export { type ForwardOptions, listenForward } from "./forward.ts";
export { type HttpProxyOptions, listenHttpProxy } from "./http_connect.ts";
export { listenSocks5, type Socks5Options } from "./socks5.ts";
export type { Socks5Credentials } from "./socks5_codec.ts";
export { listenUdpForward, type UdpForwardOptions } from "./udp_forward.ts";
export { SERVICE_DOMAIN } from "./service_host.ts";
