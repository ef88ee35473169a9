/**
 * A laboratory of bad networks, for tests and measurements: see `lab.ts`.
 * @module
 */
export * from "./capture.ts";
export * from "./lab.ts";
export * from "./options.ts";
export { RELAY } from "./plan.ts";
export { findCommand, labUnavailable, skipLab } from "./requirements.ts";
