/**
 * What a total parser answers: a value, or why there is none.
 * @module
 */

/** A value, or the reason in words (action first, no final period). Tell apart with `"ok" in parsed`. */
export type Parsed<T> = { readonly ok: T } | { readonly refused: string };
