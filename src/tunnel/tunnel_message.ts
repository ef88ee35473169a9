/**
 * What the two ends of a tunnel say to each other on its control stream (the agent's first), as framed JSON. A type that
 * an end does not know is ignored, so that a newer end may say more.
 * @module
 */
import * as v from "valibot";

const Name = v.pipe(v.string(), v.regex(/^[a-z0-9-]{1,63}$/));
const Id = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const MessageSchema = v.variant("type", [
  /** Always first, from the agent: there is a control stream. */
  v.object({
    type: v.literal("hello"),
    software: v.pipe(v.string(), v.maxLength(64)),
    /** Random, and when it was said on the connector's clock as far as known: so that early data is acted on once. */
    nonce: v.optional(v.pipe(v.string(), v.maxLength(64))),
    issuedAt: v.optional(v.nullable(Id), null),
  }),
  /**
   * Answers it: the connector's clock, whether what came early was acted on before the handshake was over, and what shall
   * not come early.
   */
  v.object({
    type: v.literal("welcome"),
    now: Id,
    early: v.picklist(["accepted", "refused", "none"]),
    /** Services whose flows shall not travel early. */
    noEarlyServices: v.optional(v.pipe(v.array(Name), v.maxLength(256)), []),
  }),
  /** A flow was aborted: read its stream to the end, then reset the TCP connection. */
  v.object({ type: v.literal("abort"), stream: Id }),
  /** Asks for a pong at once: a round trip through the tunnel, whatever its path. */
  v.object({ type: v.literal("ping"), id: Id }),
  v.object({ type: v.literal("pong"), id: Id }),
  /** No new flows; live ones may finish within this time. */
  v.object({ type: v.literal("draining"), graceMs: Id }),
  /**
   * Addresses at which this end may be reached, for the direct path. Checked by the path room. `key` (agent only): makes
   * the macs of the probes.
   */
  v.object({
    type: v.literal("offer"),
    offer: v.unknown(),
    key: v.optional(v.pipe(v.string(), v.maxLength(64))),
    /** This end wants no direct path; its offer is empty. */
    disabled: v.optional(v.boolean()),
  }),
]);

/** Any message of a tunnel's control stream. */
export type TunnelMessage = v.InferOutput<typeof MessageSchema>;

/** Reads a message; `undefined` where it is none that we know. Total. */
export function parseTunnelMessage(json: unknown): TunnelMessage | undefined {
  const parsed = v.safeParse(MessageSchema, json);
  return parsed.success ? parsed.output : undefined;
}
