// The computation, in a worker so that the page never waits for it. A job holds all settings. What has not changed
// since the last job is not computed again. A newer job ends an older one at its next step.

import { invert, sample } from "./ddim.js";
import { distance, mean, measure, plainMask } from "./measures.js";
import { load } from "./networks.js";

class Superseded extends Error {}

const kept = {}; // stage -> { key, value }: the last result and the settings that it belongs to
let newest = 0;
let queue = Promise.resolve();

onmessage = ({ data: job }) => {
  newest = job.id;
  queue = queue.then(() => run(job)).catch((error) => {
    if (!(error instanceof Superseded)) postMessage({ id: job.id, kind: "failed", message: error.message });
  });
};

/** The stages of a job: the settings that each depends on, and its network evaluations. */
function stagesOf({ model, seed, numSteps, label, editLabel, convention, exactFirst }) {
  const sampled = [model.name, seed, numSteps, label].join();
  const inverted = [sampled, convention, exactFirst].join();
  const stages = {
    forward: { key: sampled, cost: numSteps },
    back: { key: inverted, cost: numSteps - exactFirst },
    again: { key: inverted, cost: numSteps },
  };
  if (editLabel !== null) {
    stages.edit_noise = { key: [sampled, editLabel].join(), cost: numSteps };
    stages.edit_latent = { key: [inverted, editLabel].join(), cost: numSteps };
  }
  return stages;
}

async function run(job) {
  const { id, model, label, editLabel, convention, exactFirst } = job;
  const { shape, pixel_shape: pixelShape, clip } = model;
  const stages = stagesOf(job);
  const isKept = (stage) => kept[stage]?.key === stages[stage].key;
  const costs = Object.keys(stages).map((stage) => (isKept(stage) ? 0 : stages[stage].cost));
  const planned = costs.reduce((sum, cost) => sum + cost);
  let evaluations = 0;

  const say = (kind, content) => postMessage({ id, kind, ...content });
  const show = (name, values, of, look) => say("picture", { name, values, shape: of, look });
  await breathe(id);
  say("doing", { what: `Loading ${model.name}`, evaluations, planned });
  const network = await load(model);
  const schedule = model.schedules[job.numSteps];

  /** The result of a stage, computed only if it is not kept. */
  async function once(stage, what, compute) {
    if (!isKept(stage)) {
      say("doing", { what });
      kept[stage] = { key: stages[stage].key, value: await compute() };
    }
    return kept[stage].value;
  }
  const predict = (told) => (x, timestep) => {
    say("doing", { evaluations: ++evaluations });
    return network.predict(x, timestep, told);
  };
  /** Shows each state as a picture, and lets newer jobs in. */
  const watch = (name) => async (state) => {
    show(name, state, shape, "noise");
    await breathe(id);
  };
  const draw = async (start, told, name) =>
    network.decode((await sample(predict(told), start, schedule, clip, watch(name))).state);

  const forward = await once("forward", "Sampling", async () => {
    const noise = network.noise(job.seed);
    show("noise", noise, shape, "noise");
    const { state, predictions } = await sample(predict(label), noise, schedule, clip, watch("image"));
    const pixels = await network.decode(state);
    return { noise, image: state, predictions, pixels, plain: plainMask(pixels, pixelShape) };
  });
  show("noise", forward.noise, shape, "noise");
  show("image", forward.pixels, pixelShape, "pixels");
  show("mask", forward.plain, [1, ...pixelShape.slice(1)], "mask");

  const back = await once("back", "Inverting", async () => {
    const how = { convention, exactFirst, predictions: forward.predictions };
    const { state } = await invert(predict(label), forward.image, schedule, clip, how, watch("latent"));
    return { latent: state, error: distance(state, forward.noise) };
  });
  show("latent", back.latent, shape, "noise");
  show("error", back.error, shape, "error");

  const pixelsAgain = await once("again", "Sampling from the latent", () => draw(back.latent, label, "again"));
  show("again", pixelsAgain, pixelShape, "pixels");
  say("numbers", { numbers: measure({ ...forward, ...back, pixelsAgain }, shape, pixelShape) });

  const starts = editLabel === null ? {} : { edit_noise: forward.noise, edit_latent: back.latent };
  for (const [name, start] of Object.entries(starts)) {
    const edit = await once(name, "Editing", () => draw(start, editLabel, name));
    show(name, edit, pixelShape, "pixels");
    say("numbers", { numbers: { [name]: mean(distance(edit, forward.pixels)) } });
  }
  say("done", { evaluations });
}

/** Lets messages in, and ends the job if one of them was a newer job. */
async function breathe(id) {
  await new Promise((resolve) => setTimeout(resolve));
  if (id !== newest) throw new Superseded();
}
