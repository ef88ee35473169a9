/**
 * Names of services, connectors and agents: what a DNS label may be, without upper case. They are compared, shown and
 * put into certificates; they never become file paths.
 * @module
 */

declare const nameBrand: unique symbol;

/** A checked name, `[a-z0-9-]{1,63}`. */
export type Name = string & { readonly [nameBrand]: true };

/** A DNS label's bound (RFC 1035 §2.3.4), as names are labels of a certificate's DNS name. */
export const MAX_NAME_LENGTH = 63;

const NAME = /^[a-z0-9-]{1,63}$/;

/** Is this a name? Total: any value gives an answer. */
export function isName(value: unknown): value is Name {
  return typeof value === "string" && NAME.test(value);
}

/** At most this much of a wrong name is shown, so that a megabyte of it does not fill the terminal. */
const MAX_SHOWN = 80;

function shown(text: string): string {
  return JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
}

/**
 * A name out of what a person wrote.
 *
 * @param options.what what is named, for the message, @default "name"
 * @throws {SyntaxError} saying what is wrong with it
 */
export function parseName(text: string, options: { what?: string } = {}): Name {
  if (isName(text)) return text;
  const what = options.what ?? "name";
  const wrong = text === ""
    ? "it is empty"
    : text.length > MAX_NAME_LENGTH
    ? `it has ${text.length} characters, and ${MAX_NAME_LENGTH} are the most`
    : `${describeFirstWrong(text)} is not allowed: expected only a-z, 0-9 and "-"`;
  throw new SyntaxError(`Cannot use ${shown(text)} as a ${what} as ${wrong}`);
}

function describeFirstWrong(text: string): string {
  for (const character of text) {
    if (!NAME.test(character)) {
      const code = character.codePointAt(0)!;
      // A control character is shown by its number: printed as such it could play tricks on a terminal.
      return code < 0x20 || (code >= 0x7f && code <= 0x9f)
        ? `the control character U+${code.toString(16).toUpperCase().padStart(4, "0")}`
        : JSON.stringify(character);
    }
  }
  return "a character";
}
