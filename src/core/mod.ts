/**
 * The ground floor: imports nothing above.
 * @module
 */
export * from "./address.ts";
export * from "./bytes.ts";
export * from "./clock.ts";
export * from "./driver.ts";
export * from "./errors.ts";
export * from "./log.ts";
export * from "./machine.ts";
export * from "./waiting_room.ts";
