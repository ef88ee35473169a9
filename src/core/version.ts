/**
 * The one place that knows which version this is: `deno.json`, embedded when the program is packed.
 * @module
 */
import config from "../../deno.json" with { type: "json" };

/** `0.1.0` (semantic versioning). */
export const VERSION: string = config.version;
