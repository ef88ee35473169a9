/**
 * The relay's side of address discovery: a datagram and where it came from give an answer or a reason to drop it.
 * It keeps nothing per client: a client's key is derived from its key id, so a flood of questions costs no memory.
 * @module
 */
import type { Address } from "../core/address.ts";
import type { Bytes } from "../core/bytes.ts";
import {
  decodeObserve,
  encodeObserved,
  KEY_ID_BYTES,
  type ObserveKey,
  type ObserveRefusal,
} from "./observe_codec.ts";
import type { Mac, RandomBytes } from "./primitives.ts";

/** The answer to send, or why there is none. */
export type ObserverAnswer =
  | {
    readonly type: "answer";
    readonly datagram: Bytes;
    /** Send it from the other of the relay's two ports than the one that was asked. */
    readonly fromOtherPort: boolean;
    /** The asker's key id, where the question says that it comes from a socket for direct paths. */
    readonly directOf: Uint8Array | undefined;
  }
  | { readonly type: "drop"; readonly reason: ObserveRefusal };

/**
 * Two secrets at most, the newer and the one before it, so that clients with a key of yesterday are still answered while
 * the relay rotates. The first byte of a key id says which secret made its key; the rest tells clients apart.
 */
export class ObserveKeyRing {
  #mac: Mac;
  #secrets: { generation: number; secret: Uint8Array }[] = [];

  constructor(options: { mac: Mac }) {
    this.#mac = options.mac;
  }

  /** Makes `secret` (32 random bytes) the one for new keys; the one before the last is forgotten. */
  rotate(secret: Uint8Array): void {
    const newest = this.#secrets[0];
    const generation = newest ? (newest.generation + 1) & 0xff : secret[0]! & 0xff;
    this.#secrets = [{ generation, secret }, ...this.#secrets.slice(0, 1)];
  }

  /**
   * A key for one client.
   *
   * @throws {Error} before the first {@linkcode rotate}
   */
  issue(random: RandomBytes): ObserveKey {
    const newest = this.#secrets[0];
    if (!newest) throw new Error("Cannot issue an observe key as there is no secret yet");
    const id = Uint8Array.from(random(KEY_ID_BYTES));
    id[0] = newest.generation;
    return { id, key: this.#mac(newest.secret, id) };
  }

  /** The key of a key id, or `undefined` where its secret is gone or never was. */
  keyOf(id: Uint8Array): Uint8Array | undefined {
    const found = this.#secrets.find(({ generation }) => generation === id[0]);
    return found && this.#mac(found.secret, id);
  }
}

/** Answers one datagram that begins with the byte of a question. The answer is never longer than the question. */
export function answerObserve(
  datagram: Uint8Array,
  from: Address,
  options: { keys: Pick<ObserveKeyRing, "keyOf">; mac: Mac },
): ObserverAnswer {
  let key: Uint8Array | undefined;
  let keyId: Uint8Array | undefined;
  const keyOf = (id: Uint8Array) => (key = options.keys.keyOf(keyId = id));
  const question = decodeObserve(datagram, { keyOf, mac: options.mac });
  if (!question.ok) return { type: "drop", reason: question.refused };
  const { txid, otherPort, direct } = question.value;
  const answer = encodeObserved({ txid, address: from }, { key: key!, mac: options.mac });
  return {
    type: "answer",
    datagram: answer,
    fromOtherPort: otherPort,
    directOf: direct ? keyId : undefined,
  };
}
