/**
 * Postern: argv in, exit code out.
 * @module
 */
import { systemIo } from "./src/cli/io.ts";
import { run } from "./src/cli/run.ts";

if (import.meta.main) Deno.exit(await run(Deno.args, systemIo()));
