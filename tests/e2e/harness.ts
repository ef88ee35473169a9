/**
 * What an end-to-end test needs: real processes, real servers, one scene per test.
 * @module
 */
export * from "./paths.ts";
export * from "./process.ts";
export * from "./scene.ts";
export * from "./servers.ts";
