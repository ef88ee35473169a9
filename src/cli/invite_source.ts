/**
 * Where an invite token comes from: never argv, which every user of a machine can read.
 * @module
 */
import { messageOf, UserError } from "../core/errors.ts";
import type { Io } from "./io.ts";

/** A token has 32 KiB at most, and mail programs may break it into lines. */
const MAX_INVITE_BYTES = 64 * 1024;

/** The environment variable that may hold a token. */
const INVITE_VARIABLE = "POSTERN_INVITE";

/**
 * The token out of `--invite-file F` (`-`: stdin), else out of POSTERN_INVITE; `undefined` where neither is given.
 *
 * @throws {UserError} where the file cannot be read or is empty
 */
export async function readInviteToken(
  file: string | undefined,
  io: Io,
): Promise<string | undefined> {
  if (file === undefined) return io.env(INVITE_VARIABLE)?.trim() || undefined;
  const shown = file === "-" ? "stdin" : `"${file}"`;
  const next = "make an invite with postern invite at the relay, and copy its one line here";
  let text: string;
  try {
    if (file === "-") {
      if (io.inIsTerminal) io.err("Paste the invite, then press Ctrl-D on a line of its own:\n");
      text = await io.readStdin(MAX_INVITE_BYTES);
    } else {
      if ((await Deno.stat(file)).size > MAX_INVITE_BYTES) {
        throw new RangeError(`it is larger than ${MAX_INVITE_BYTES} bytes`);
      }
      text = await Deno.readTextFile(file);
    }
  } catch (error) {
    throw new UserError(`Cannot read the invite from ${shown}: ${messageOf(error)}`, {
      next,
      cause: error,
    });
  }
  if (text.trim() === "") {
    throw new UserError(`Cannot read the invite from ${shown} as it is empty`, { next });
  }
  return text.trim();
}
