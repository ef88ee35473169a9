/**
 * The error that tells why a flow did not open.
 * @module
 */
import type { FlowRefusal } from "./flow_codec.ts";

/** A flow was refused, here or by the other end. */
export class FlowRefused extends Error {
  override readonly name = "FlowRefused";
  readonly refusal: FlowRefusal;
  constructor(refusal: FlowRefusal, message: string) {
    super(message);
    this.refusal = refusal;
  }
}
