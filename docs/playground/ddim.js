// DDIM sampling and inversion, as in taba_utils/ddim.py: one step, the moves of each convention, one loop.
// States are Float32Array. Coefficients are float64. Level 0 is the clean image, level T the noise.

/** Move a state from ᾱ = `start` to ᾱ = `end` (Eq. 2 with η = 0). `clip` > 0 clips the predicted x_0 to [-clip, clip]. */
export function ddimStep(x, prediction, { start, end }, clip = 0) {
  const state = new Float32Array(x.length);
  const noise = new Float32Array(x.length);
  const clips = clip > 0 && start < 1;
  for (let i = 0; i < x.length; i++) {
    let image = (x[i] - Math.sqrt(1 - start) * prediction[i]) / Math.sqrt(start);
    noise[i] = prediction[i];
    if (clips) {
      image = Math.min(Math.max(image, -clip), clip);
      noise[i] = (x[i] - Math.sqrt(start) * image) / Math.sqrt(1 - start);
    }
    state[i] = Math.sqrt(end) * image + Math.sqrt(1 - end) * noise[i];
  }
  return { state, noise };
}

/** Levels T to 0. */
export function samplingMoves({ alphas_cumprod: a, timesteps: t }) {
  const levels = t.map((_, i) => t.length - i);
  return levels.map((level) => ({ level, timestep: t[level - 1], start: a[level], end: a[level - 1] }));
}

/** Levels 0 to T. `convention` is "target" (Eq. 4), "shifted" or "source"; see `inversion_moves` in ddim.py. */
export function inversionMoves({ alphas_cumprod, timesteps: t }, convention) {
  const a = [...alphas_cumprod, 0];
  const shift = convention === "shifted" ? 1 : 0;
  const earlier = convention === "source" ? 1 : 0;
  return t.map((_, i) => {
    const told = Math.max(i + 1 - earlier, 1);
    return { level: i + 1, timestep: t[told - 1], start: a[i + shift], end: a[i + 1 + shift] };
  });
}

/** The one loop. `take(x, move)` gives the next state and its ε; `watch(state)` sees each state. */
async function walk(x, moves, take, watch) {
  const predictions = {};
  for (const move of moves) {
    const { state, noise } = await take(x, move);
    predictions[move.level] = noise;
    x = state;
    await watch(x);
  }
  return { state: x, predictions };
}

/** Noise to image. `predict(x, timestep)` is the network. Returns the last state and the sampler's ε by level. */
export function sample(predict, noise, schedule, clip, watch = () => {}) {
  const take = async (x, move) => ddimStep(x, await predict(x, move.timestep), move, clip);
  return walk(noise, samplingMoves(schedule), take, watch);
}

/** Image to latent. Steps 1 to `exactFirst` take the sampler's own ε, `predictions` (Sec. 5), which nothing clips. */
export function invert(predict, image, schedule, clip, { convention, exactFirst, predictions }, watch = () => {}) {
  if (exactFirst && convention !== "target") throw new Error("exact first steps need the target convention");
  const take = async (x, move) =>
    move.level <= exactFirst
      ? ddimStep(x, predictions[move.level], move)
      : ddimStep(x, await predict(x, move.timestep), move, clip);
  return walk(image, inversionMoves(schedule, convention), take, watch);
}
