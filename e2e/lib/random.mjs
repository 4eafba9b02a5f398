// Chance that a seed decides, so that a run can be had again.

/** Numbers from 0 to 1 (mulberry32), and what is made of them. */
export function random(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
  const chance = (p) => next() < p;
  /** An integer from low to high. */
  const between = (low, high) => low + Math.floor(next() * (high - low + 1));
  return { chance, between };
}
