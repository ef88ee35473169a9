/**
 * Something large through the tunnel, each way, its hash compared with what was meant.
 * @module
 */
import { createHash } from "node:crypto";
import type { ProgressReport } from "../options.ts";
import { exchange } from "./http_exchange.ts";
import type { LargeBody } from "./web_service.ts";

/** How to carry. */
export interface Transfer {
  /** The agent's local port. */
  readonly port: number;
  readonly body: LargeBody;
  /** SHA-256 of the body, in hexadecimal. */
  readonly sha256: string;
  readonly progress: ProgressReport;
}

/**
 * Downloads the body; answers Mbit/s.
 *
 * @throws {Error} where what came is not what was sent
 */
export async function download({ port, body, sha256, progress }: Transfer): Promise<number> {
  const hash = createHash("sha256");
  let done = 0;
  const started = performance.now();
  await exchange({
    port,
    path: "/large",
    onBytes: (bytes) => {
      hash.update(bytes);
      progress.update(done += bytes.length);
    },
  });
  const ms = performance.now() - started;
  check("download", hash.digest("hex"), sha256);
  return megabits(body.length, ms);
}

/**
 * Uploads the body; the service answers with the hash of what came. Answers Mbit/s.
 *
 * @throws {Error} where what came is not what was sent
 */
export async function upload({ port, body, sha256, progress }: Transfer): Promise<number> {
  let done = 0;
  const started = performance.now();
  const answer = await exchange({
    port,
    path: "/upload",
    body: { length: body.length, chunks: body.chunks() },
    onBytes: (bytes) => progress.update(done += bytes.length),
  });
  const ms = performance.now() - started;
  check("upload", answer.body, sha256);
  return megabits(body.length, ms);
}

function check(what: string, got: string, wanted: string): void {
  if (got === wanted) return;
  throw new Error(`the ${what} arrived with SHA-256 ${got} instead of ${wanted}`);
}

function megabits(bytes: number, ms: number): number {
  return Math.round(bytes * 8 / ms / 1000);
}
