/**
 * "Did you mean": the nearest right word to a wrong one.
 * @module
 */

/** Longer words than this are no slip of the finger, and comparing them costs the square of their length. */
const MAX_COMPARED = 64;

/**
 * How many single slips (a letter missing, extra, wrong, or two letters swapped) lead from `a` to `b`:
 * the optimal string alignment distance.
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, beforeLast[j - 2]! + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

/**
 * The one of `choices` that `word` was probably meant to be; `undefined` where none is near.
 * Near is: a third of the letters wrong at most (one is always allowed), or the beginning of exactly one choice.
 */
export function nearest(word: string, choices: readonly string[]): string | undefined {
  const wanted = word.toLowerCase();
  if (wanted.length === 0 || wanted.length > MAX_COMPARED) return undefined;
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const choice of choices) {
    const distance = editDistance(wanted, choice.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [choice, distance];
  }
  const allowed = Math.max(1, Math.floor(Math.max(wanted.length, best?.length ?? 0) / 3));
  if (bestDistance <= allowed) return best;
  const started = choices.filter((choice) => choice.toLowerCase().startsWith(wanted));
  return wanted.length >= 2 && started.length === 1 ? started[0] : undefined;
}
