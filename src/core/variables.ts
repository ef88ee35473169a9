/**
 * Environment variables that are no twin of a flag: what this program's own processes tell each other.
 * @module
 */

/** The self-extracting file's own path: what a person types to start it. */
export const SELF_VARIABLE = "POSTERN_SELF";

/** Where the self-extracting file unpacks. */
export const CACHE_VARIABLE = "POSTERN_CACHE";

/** Set by who starts a role that shall not outlive it: the end of stdin is then a wish to stop. */
export const STOP_WITH_STDIN_VARIABLE = "POSTERN_STOP_WITH_STDIN";
