/**
 * How a flow begins on its stream.
 *
 * ```
 * opener   -> version[1]=1 kind[1: 1 tcp, 2 udp] flags[1]=0 name-length[1] service-name, then the flow's bytes
 * acceptor -> status[1: 0 open, else a reason] text-length[1] text, then the flow's bytes
 * ```
 *
 * The opener does not wait for the answer: its first bytes follow the header at once.
 * @module
 */
import { type Bytes, decodeUtf8Strict, encodeUtf8 } from "../core/mod.ts";

/** The only version there is. */
const FLOW_VERSION = 1;

/** What kind of traffic a flow carries. */
export type FlowKind = "tcp" | "udp";

/** What a flow's opener asks for. */
export interface FlowRequest {
  readonly kind: FlowKind;
  readonly service: string;
}

/** Why a flow was not opened. The numbers travel; 0 is "open". */
export const FLOW_REFUSALS = {
  "malformed": 1,
  "not-granted": 2,
  "unknown-service": 3,
  "target-refused": 4,
  "target-unreachable": 5,
  "target-timeout": 6,
  "too-many": 7,
  "draining": 8,
  "wrong-kind": 9,
} as const;
/** One of {@linkcode FLOW_REFUSALS}. */
export type FlowRefusal = keyof typeof FLOW_REFUSALS;

const REFUSAL_OF = new Map(
  Object.entries(FLOW_REFUSALS).map(([name, code]) => [code as number, name as FlowRefusal]),
);

/** Longest header: 4 bytes and a name of 63. */
export const MAX_FLOW_HEADER = 4 + 63;
/** Longest answer: 2 bytes and a text of 255. */
export const MAX_FLOW_ANSWER = 2 + 255;

const SERVICE_NAME = /^[a-z0-9-]{1,63}$/;

/** The header of a flow. The service name is checked by whoever made it. */
export function encodeFlowHeader(request: FlowRequest): Bytes {
  const name = encodeUtf8(request.service);
  const header = new Uint8Array(4 + name.length);
  header[0] = FLOW_VERSION;
  header[1] = request.kind === "tcp" ? 1 : 2;
  header[3] = name.length;
  header.set(name, 4);
  return header;
}

/** What became of the first bytes: a value of `length` bytes, not enough yet, or nothing we know. */
export type Decoded<T> =
  | { readonly state: "done"; readonly value: T; readonly length: number }
  | { readonly state: "more" }
  | { readonly state: "malformed"; readonly reason: string };

/** Reads a flow's header from the first bytes of its stream. Total. */
export function decodeFlowHeader(bytes: Uint8Array): Decoded<FlowRequest> {
  if (bytes.length > 0 && bytes[0] !== FLOW_VERSION) {
    return { state: "malformed", reason: `flow version ${bytes[0]} is not ${FLOW_VERSION}` };
  }
  if (bytes.length > 1 && bytes[1] !== 1 && bytes[1] !== 2) {
    return { state: "malformed", reason: `flow kind ${bytes[1]} is neither 1 (tcp) nor 2 (udp)` };
  }
  if (bytes.length < 4) return { state: "more" };
  const length = 4 + bytes[3]!;
  if (length === 4 || length > MAX_FLOW_HEADER) {
    return { state: "malformed", reason: `service name of ${bytes[3]} bytes is not 1 to 63` };
  }
  if (bytes.length < length) return { state: "more" };
  const service = decodeUtf8Strict(bytes.subarray(4, length));
  if (service === undefined || !SERVICE_NAME.test(service)) {
    return { state: "malformed", reason: "service name is not of a-z, 0-9 and -" };
  }
  return { state: "done", value: { kind: bytes[1] === 1 ? "tcp" : "udp", service }, length };
}

/** What the acceptor answers. */
export type FlowAnswer =
  | { readonly open: true }
  | { readonly open: false; readonly refusal: FlowRefusal; readonly message: string };

/** The acceptor's answer; a long message is cut. */
export function encodeFlowAnswer(answer: FlowAnswer): Bytes {
  if (answer.open) return new Uint8Array(2);
  const text = encodeUtf8(answer.message).subarray(0, 255);
  const bytes = new Uint8Array(2 + text.length);
  bytes[0] = FLOW_REFUSALS[answer.refusal];
  bytes[1] = text.length;
  bytes.set(text, 2);
  return bytes;
}

/** Reads the acceptor's answer from the first bytes of its side of the stream. Total. */
export function decodeFlowAnswer(bytes: Uint8Array): Decoded<FlowAnswer> {
  if (bytes.length < 2) return { state: "more" };
  const length = 2 + bytes[1]!;
  if (bytes.length < length) return { state: "more" };
  if (bytes[0] === 0) return { state: "done", value: { open: true }, length };
  const refusal = REFUSAL_OF.get(bytes[0]!);
  if (!refusal) return { state: "malformed", reason: `flow status ${bytes[0]} is unknown` };
  const message = decodeUtf8Strict(bytes.subarray(2, length)) ?? "";
  return { state: "done", value: { open: false, refusal, message }, length };
}
