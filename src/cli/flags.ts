/**
 * The table from which parsing, `--help`, environment twins and the config file follow: a command states its
 * flags and arguments once, with the function that reads each from text.
 *
 * The key in the table is the name in code and in the config file (`p2pPort`); the flag is its kebab form
 * (`--p2p-port`), the environment twin its upper form (`POSTERN_P2P_PORT`).
 * @module
 */

/** A function from what a person wrote to a typed value; throws an error that says what would be right. */
export type Reader<T> = (text: string) => T;

interface FlagBase<T> {
  /** One line, what it does; no final period. */
  readonly help: string;
  /** One letter: `c` makes `-c` mean the same. */
  readonly short?: string;
  /** What it is when nobody says anything. */
  readonly fallback: T;
  /** The default as help shows it. */
  readonly shown?: string;
  /** Has no environment twin and no place in a config file (`--help`). */
  readonly argvOnly?: boolean;
}

/** Present or absent: `--json`. `--json=false` also works, to overrule a config file. */
export interface SwitchFlag extends FlagBase<boolean> {
  readonly kind: "switch";
}

/** One value: `--state DIR`. */
export interface ValueFlag<T> extends FlagBase<T> {
  readonly kind: "value";
  /** What help calls the value: `DIR`. */
  readonly value: string;
  readonly read: Reader<T>;
  /** A path: in a config file it is relative to that file. */
  readonly path?: boolean;
}

/** May be given again and again: `--service web --service ssh`. In the environment separated by commas. */
export interface ListFlag<T> extends FlagBase<readonly T[]> {
  readonly kind: "list";
  readonly value: string;
  readonly read: Reader<T>;
  readonly path?: boolean;
}

/** A table of flags, by camelCase name. */
// deno-lint-ignore no-explicit-any -- the element type of each entry differs; `ValuesOf` gets it back
export type Flags = Readonly<Record<string, SwitchFlag | ValueFlag<any> | ListFlag<any>>>;

/** One argument without a flag, by its place: `postern grant AGENT`. */
export interface Argument<T> {
  /** What help calls it: `AGENT`. */
  readonly label: string;
  readonly help: string;
  readonly read: Reader<unknown>;
  readonly kind: "one" | "optional" | "rest" | "rest-or-none";
  /** Never set: carries the type of the value. */
  readonly type?: T;
}

/** A table of arguments in their order; only the last may be of a `rest` kind. */
export type Arguments = Readonly<Record<string, Argument<unknown>>>;

/** The typed values that a table of flags and a table of arguments give. */
export type ValuesOf<F extends Flags, A extends Arguments = Record<never, never>> =
  & { readonly [K in keyof F]: F[K]["fallback"] }
  & { readonly [K in keyof A]: A[K] extends Argument<infer T> ? T : never };

/** States a {@linkcode SwitchFlag}. */
export function switchFlag(
  help: string,
  options: { short?: string; argvOnly?: boolean } = {},
): SwitchFlag {
  return { kind: "switch", help, fallback: false, ...options };
}

interface ValueSpec<T> {
  readonly value: string;
  readonly read: Reader<T>;
  readonly help: string;
  readonly short?: string;
  readonly path?: boolean;
  readonly shown?: string;
}

/** States a {@linkcode ValueFlag} that may be absent. */
export function valueFlag<T>(spec: ValueSpec<T>): ValueFlag<T | undefined> {
  return { kind: "value", fallback: undefined, ...spec };
}

/** States a {@linkcode ValueFlag} with a default, written as a person would write it. */
export function defaultedFlag<T>(spec: ValueSpec<T> & { readonly shown: string }): ValueFlag<T> {
  return { kind: "value", fallback: spec.read(spec.shown), ...spec };
}

/** States a {@linkcode ListFlag}. */
export function listFlag<T>(spec: ValueSpec<T>): ListFlag<T> {
  return { kind: "list", fallback: [], ...spec };
}

interface ArgumentSpec<T> {
  readonly label: string;
  readonly read: Reader<T>;
  readonly help: string;
}

/** An argument that must be there. */
export function argument<T>(spec: ArgumentSpec<T>): Argument<T> {
  return { kind: "one", ...spec };
}

/** An argument that may be there. */
export function optionalArgument<T>(spec: ArgumentSpec<T>): Argument<T | undefined> {
  return { kind: "optional", ...spec };
}

/** All further arguments; at least one with `needed`. */
export function restArguments<T>(
  spec: ArgumentSpec<T> & { readonly needed?: boolean },
): Argument<readonly T[]> {
  const { needed, ...rest } = spec;
  return { kind: needed ? "rest" : "rest-or-none", ...rest };
}

/** `p2pPort` -> `p2p-port`. */
export function kebabOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `p2pPort` -> `POSTERN_P2P_PORT`. */
export function environmentOf(key: string): string {
  return `POSTERN_${kebabOf(key).replaceAll("-", "_").toUpperCase()}`;
}
