/**
 * Why a connection ended, as the engine knows it.
 * @module
 */
import { decodeUtf8 } from "../core/mod.ts";
import type { CloseReason } from "./connection_types.ts";
import type { NativeConnection } from "./engine.ts";

/** Reads the reason out of a connection that is over. */
export function closeReasonOf(native: NativeConnection, duringHandshake: boolean): CloseReason {
  const peer = native.peerError();
  const error = peer ?? native.localError();
  if (!error) {
    const by = native.isTimedOut() ? "timeout" : "local";
    return { by, code: 0, application: false, text: "", duringHandshake };
  }
  return {
    by: peer ? "peer" : "local",
    code: error.errorCode,
    application: error.isApp,
    text: decodeUtf8(new Uint8Array(error.reason)),
    duringHandshake,
  };
}
