/**
 * What can be wrong with the folder or a file in which a role keeps its state.
 * @module
 */
import { messageOf, UserError } from "../core/mod.ts";

/** How a caller tells them apart. */
export type StateErrorCode =
  | "missing"
  | "not-ours"
  | "other-role"
  | "newer"
  | "corrupt"
  | "read-only"
  | "in-use"
  | "unusable";

/** A state folder, or a file in it, that cannot be used as it is. It is never overwritten then. */
export class StateError extends UserError {
  readonly code: StateErrorCode;
  constructor(
    code: StateErrorCode,
    message: string,
    options: { next?: string; cause?: unknown } = {},
  ) {
    super(message, options);
    this.code = code;
  }
}

/** A path in a message: quoted, control characters escaped. */
export function quotePath(path: string): string {
  return JSON.stringify(path);
}

/** Why the system refused to read or write, as a {@linkcode StateError}. */
export function stateErrorOf(cause: unknown, action: string, path: string): StateError {
  if (cause instanceof StateError) return cause;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  const cannot = `Cannot ${action} ${quotePath(path)}`;
  if (code === "EROFS" || (cause instanceof Error && /read-only/i.test(cause.message))) {
    return new StateError("read-only", `${cannot} as it is on a read-only file system`, {
      next: "Give a folder that can be written with --state",
      cause,
    });
  }
  if (
    cause instanceof Deno.errors.PermissionDenied || cause instanceof Deno.errors.NotCapable ||
    code === "EACCES" || code === "EPERM"
  ) {
    return new StateError("read-only", `${cannot} as this user may not`, {
      next: "Run as the user who owns the folder, or give another with --state",
      cause,
    });
  }
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new StateError("unusable", `${cannot} as no space is left`, {
      next: "Make room on that file system",
      cause,
    });
  }
  return new StateError("unusable", `${cannot}: ${messageOf(cause)}`, {
    next: "Give another folder with --state",
    cause,
  });
}
