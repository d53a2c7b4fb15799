// Noise for seeds that no file holds: the generator mulberry32 and the Box-Muller transform.

/** `length` standard normal numbers that depend on `seed`, a whole number, alone. */
export function drawNoise(seed, length) {
  const uniform = mulberry32(seed);
  return Float32Array.from({ length }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  });
}

/** Uniform numbers in [0, 1) of 32 bits (T. Ettinger, public domain). */
function mulberry32(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
