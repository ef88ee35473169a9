/**
 * From JSON to typed messages: past this there are only values that are in order.
 * @module
 */
import * as v from "valibot";
import { FrameReader } from "./framing.ts";
import {
  CLIENT_SCHEMAS,
  type ClientMessage,
  type ErrorCode,
  PROTOCOL_VERSION,
  RELAY_SCHEMAS,
  type RelayMessage,
} from "./messages.ts";

/** Why something is no message; the connection ends with it. */
export interface Refusal {
  readonly code: ErrorCode;
  /** For people; holds no value that the peer sent but a type's name. */
  readonly message: string;
}

/** A message, or why it is none. */
export type Parsed<Message> = { readonly ok: Message } | { readonly refused: Refusal };

/** How much of an unknown type's name goes into the refusal. */
const MAX_SHOWN_TYPE = 40;

/** Reads what a client sent. Total: any JSON value gives a message or a refusal. */
export function parseClientMessage(json: unknown): Parsed<ClientMessage> {
  return parse(CLIENT_SCHEMAS, json) as Parsed<ClientMessage>;
}

/** Reads what a relay sent. Total: any JSON value gives a message or a refusal. */
export function parseRelayMessage(json: unknown): Parsed<RelayMessage> {
  return parse(RELAY_SCHEMAS, json) as Parsed<RelayMessage>;
}

/** What {@linkcode MessageReader.read} found, in order. `refused` ends the stream. */
export interface MessagesRead<Message> {
  readonly messages: Message[];
  readonly refused: Refusal | undefined;
}

/** A control stream's bytes to messages: framing and schema in one. After a refusal it takes nothing more. */
export class MessageReader<Message> {
  readonly #frames = new FrameReader();
  readonly #parse: (json: unknown) => Parsed<Message>;
  #refused: Refusal | undefined;

  /** `parse` is {@linkcode parseClientMessage} or {@linkcode parseRelayMessage}. */
  constructor(parse: (json: unknown) => Parsed<Message>) {
    this.#parse = parse;
  }

  /** Takes the next piece of the stream; gives the messages that it completes. */
  read(chunk: Uint8Array): MessagesRead<Message> {
    const messages: Message[] = [];
    if (this.#refused) return { messages, refused: this.#refused };
    const { frames, refused } = this.#frames.read(chunk);
    if (refused) this.#refused = { code: "protocol", message: refused.message };
    for (const frame of frames) {
      const parsed = this.#parse(frame);
      if ("ok" in parsed) messages.push(parsed.ok);
      else {
        // An earlier fault than the one that framing may have found further on.
        this.#refused = parsed.refused;
        break;
      }
    }
    return { messages, refused: this.#refused };
  }
}

function parse(schemas: Record<string, v.GenericSchema>, json: unknown): Parsed<unknown> {
  if (typeof json !== "object" || json === null || !("type" in json)) {
    return refuse("Cannot read a control message as it has no type");
  }
  const { type } = json;
  if (typeof type !== "string" || !Object.hasOwn(schemas, type)) {
    const shown = (JSON.stringify(type) ?? "undefined").slice(0, MAX_SHOWN_TYPE)
      .replaceAll(/\p{Cc}/gu, "?");
    const known = Object.keys(schemas).join(", ");
    return refuse(`Cannot read a control message of type ${shown}: known are ${known}`);
  }
  const version = "version" in json ? json.version : undefined;
  if ((type === "hello" || type === "welcome") && version !== PROTOCOL_VERSION) {
    // Asked first: the rest of another version's greeting need not look like ours.
    const shown = Number.isSafeInteger(version) ? String(version) : "unknown";
    return {
      refused: {
        code: "version",
        message: `Cannot speak control protocol version ${shown} as this end speaks version ` +
          `${PROTOCOL_VERSION}`,
      },
    };
  }
  const result = v.safeParse(schemas[type]!, json, { abortEarly: true });
  if (result.success) return { ok: result.output };
  const issue = result.issues[0];
  const path = v.getDotPath(issue) ?? "";
  const what = issue.received === "undefined" ? "is missing" : `is not ${issue.message}`;
  return refuse(`Cannot read control message "${type}" as "${path}" ${what}`);
}

function refuse(message: string): { refused: Refusal } {
  return { refused: { code: "protocol", message } };
}
