/**
 * What each role is started with: the command line parses into these, the roles take nothing else.
 * @module
 */
import type { Clock, HostPort, Logger } from "../core/mod.ts";

/** What every role and command shares. */
export interface CommonOptions {
  /** The state folder of this role (mode 0700). */
  readonly state: string;
  readonly log: Logger;
  readonly clock: Clock;
  /** Ends the role in good order (drain) when aborted. */
  readonly signal: AbortSignal;
  /** Called once it serves, with a way to count open flows: a role that has grown is ended while there are none, to begin anew. */
  readonly watchGrowth?: (flows: () => number) => void;
  /** Prints one line for the person who started it (`... ready ...`, and the next command); goes to stdout. */
  readonly say: (line: string) => void;
  /** How a person starts this program, for lines that can be copied. @default "postern" */
  readonly self?: string;
  /** Only the relayed path. @default false */
  readonly noDirect?: boolean;
  /** No 0-RTT. @default false */
  readonly noEarlyData?: boolean;
  /** Silence after which an end gives a tunnel up, in milliseconds; for tests. @default 180,000 */
  readonly tunnelIdleMs?: number;
}

/** `postern relay`. */
export interface RelayOptions extends CommonOptions {
  /** Where to listen, UDP (QUIC) and TCP (enrolment) alike. @default [::]:4433 */
  readonly listen: HostPort;
  /** How others reach us; put into invites. Empty: what `listen` says, or this machine's addresses. */
  readonly public: readonly HostPort[];
  /** Metrics and health over HTTP; `undefined`: off. */
  readonly admin?: HostPort;
  /** CA key file where it does not live in the state folder. */
  readonly caKey?: string;
}

/** A service and how its bytes travel. */
export interface ServiceAddress {
  /** `[a-z0-9-]{1,63}` */
  readonly service: string;
  readonly protocol: "tcp" | "udp";
  readonly address: HostPort;
}

/** `postern connector`. */
export interface ConnectorOptions extends CommonOptions {
  /** An invite token, on the first start. */
  readonly invite?: string;
  /** Where each offered service really is. Empty: what the state folder remembers of the last start. */
  readonly services: readonly ServiceAddress[];
  /** Services whose flows wait for the handshake. Empty, and no services given: what the state folder remembers. */
  readonly noEarlyDataFor?: readonly string[];
  /** Local UDP port of the relay socket. @default 0 */
  readonly relayPort?: number;
  /** Local UDP port of the P2P socket. @default 0 */
  readonly p2pPort?: number;
  /** Do not guess ports where one NAT maps per destination. @default false */
  readonly noPortGuessing?: boolean;
  /** Metrics and health over HTTP; `undefined`: off. */
  readonly admin?: HostPort;
}

/** `postern agent`. */
export interface AgentOptions extends CommonOptions {
  /** An invite token, on the first start. */
  readonly invite?: string;
  /** Which local port leads to which service. Empty: what the state folder remembers of the last start. */
  readonly forwards: readonly ServiceAddress[];
  /** For `postern connect`: opens no remembered forwards and remembers nothing. @default false */
  readonly transient?: boolean;
  /** SOCKS5 proxy; `undefined`: off. */
  readonly socks?: HostPort;
  /** HTTP CONNECT proxy; `undefined`: off. */
  readonly httpProxy?: HostPort;
  /** Local UDP port of the relay socket. @default 0 */
  readonly relayPort?: number;
  /** Local UDP port of the P2P socket. @default 0 */
  readonly p2pPort?: number;
  /** Do not guess ports where one NAT maps per destination. @default false */
  readonly noPortGuessing?: boolean;
  /** Metrics and health over HTTP; `undefined`: off. */
  readonly admin?: HostPort;
}

/** Shows how far something long has come. */
export interface ProgressReport {
  /** `done` out of the total, in bytes. */
  update(done: number): void;
  /** It is over; `note` stays beside it. */
  finish(note?: string): void;
}

/** Paints text where colours are wanted; elsewhere it answers the text as it is. */
export type DemoPaint = Readonly<
  Record<"bold" | "dim" | "green" | "red" | "cyan", (text: string) => string>
>;

/** `postern demo`. */
export interface DemoOptions {
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Ends by itself after the run; else it stays so that a person can try things. */
  readonly once: boolean;
  /** One line for the person (or, with `json`, the one document for programs); goes to stdout. */
  readonly say: (line: string) => void;
  /** Shows on a terminal what is being done just now, until the next line; `undefined`: nothing any more. */
  readonly working: (what: string | undefined) => void;
  readonly paint: DemoPaint;
  /** Say one JSON document when the steps are done. */
  readonly json: boolean;
  /** A progress bar on terminals, plain lines elsewhere. */
  readonly progress: (label: string, totalBytes: number) => ProgressReport;
  /** Keep everything in this folder; `undefined`: a temporary one, removed at the end. */
  readonly state?: string;
  /** Only the relayed path. */
  readonly noDirect: boolean;
  /** How much to carry each way, in bytes. */
  readonly transferBytes: number;
  /** How a person starts this program, for lines that can be copied. */
  readonly self: string;
}
