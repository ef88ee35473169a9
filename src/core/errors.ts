/**
 * Errors that a caller tells apart. Everything else is a built-in class.
 * @module
 */

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Something that a person can put right: shown as its message alone, without a stack, with exit code 1.
 * The message says what failed and why; `next` says what to do about it.
 */
export class UserError extends Error {
  override readonly name = "UserError";
  /** What to do next, as a sentence or a command. */
  readonly next: string | undefined;
  constructor(message: string, options: { next?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.next = options.next;
  }
}

/** A wrong command line, environment variable or config file: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** What to do next, as a sentence or a command. */
  readonly next: string | undefined;
  constructor(message: string, options: { next?: string } = {}) {
    super(message);
    this.next = options.next;
  }
}
