/**
 * A forward in a process of its own, for a test that lets it run out of descriptors: the flow is an echo.
 * Prints its port, then its log.
 * @module
 */
import { createLogger } from "../../src/core/mod.ts";
import { listenForward } from "../../src/ingress/mod.ts";

const forward = listenForward({
  service: "web",
  at: { host: "127.0.0.1", port: 0 },
  open: {
    openTcp: () =>
      Promise.resolve({
        accepted: Promise.resolve(),
        abort: () => {},
        pipe: async (conn) => {
          const buffer = new Uint8Array(64);
          for (let count; (count = await conn.read(buffer)) !== null;) {
            await conn.write(buffer.subarray(0, count));
          }
        },
      }),
  },
  log: createLogger((_level, message) => console.log(message)),
  signal: new AbortController().signal,
});
console.log(forward.address.port);
await forward.finished;
