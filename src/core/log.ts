/**
 * What the rooms say to the log. Where it goes, and in which format, is the command line's business.
 * @module
 */

/** Least to most severe. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** Values that a log line may carry: who, which service, which path, why. Never a key, a token or a payload. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Says things that happened. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log, with these fields on every line. */
  with(fields: LogFields): Logger;
}

/** Takes finished lines. */
export type LogSink = (level: LogLevel, message: string, fields: LogFields) => void;

/** A logger that gives every line of at least `level` to `sink`. */
export function createLogger(
  sink: LogSink,
  options: { level?: LogLevel; fields?: LogFields } = {},
): Logger {
  const threshold = LOG_LEVELS.indexOf(options.level ?? "info");
  const base = options.fields ?? {};
  const say = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (LOG_LEVELS.indexOf(level) >= threshold) sink(level, message, { ...base, ...fields });
  };
  return {
    debug: say("debug"),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
    with: (fields) => createLogger(sink, { ...options, fields: { ...base, ...fields } }),
  };
}

/** Says nothing: for tests and for parts that nobody listens to. */
export const SILENT_LOGGER: Logger = createLogger(() => {});
