// Networks and noise of a model, loaded once, run by ONNX Runtime in WebAssembly on one thread.

import * as ort from "./ort/ort.wasm.min.mjs";
import { drawNoise } from "./noise.js";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more threads need headers that a static host does not send

const loaded = new Map();

/** `facts` is the model's entry in models.json. A load that failed is tried again. */
export function load(facts) {
  if (!loaded.has(facts.name)) {
    const loading = open(facts);
    loading.catch(() => loaded.delete(facts.name));
    loaded.set(facts.name, loading);
  }
  return loaded.get(facts.name);
}

async function open({ shape, files, noise_seeds: noiseSeeds }) {
  const [network, decoder, noises] = await Promise.all([
    session(files.network),
    files.decoder ? session(files.decoder) : null,
    read(files.noise).then((bytes) => new Float32Array(bytes)),
  ]);
  const length = shape.reduce((product, size) => product * size, 1);
  const tensor = (x) => new ort.Tensor("float32", x, [1, ...shape]);
  return {
    /** Noise of a seed: Python's own for the first seeds, else drawn here. */
    noise(seed) {
      return seed < noiseSeeds ? noises.slice(seed * length, (seed + 1) * length) : drawNoise(seed, length);
    },
    /** ε_θ(x, t, class); `label` is null for a model without classes. */
    async predict(x, timestep, label) {
      const inputs = { x: tensor(x), timestep: new ort.Tensor("float32", [timestep], [1]) };
      if (label !== null) inputs.label = new ort.Tensor("int64", [BigInt(label)], [1]);
      return (await network.run(inputs)).noise_prediction.data;
    },
    /** Pixels in [-1, 1], not clipped; a pixel model's image is its pixels. */
    async decode(image) {
      return decoder ? (await decoder.run({ image: tensor(image) })).pixels.data : image;
    },
  };
}

async function session(file) {
  return ort.InferenceSession.create(new Uint8Array(await read(file)), { executionProviders: ["wasm"] });
}

async function read(file) {
  const response = await fetch(new URL(file, import.meta.url));
  if (!response.ok) throw new Error(`${file} must be there, got ${response.status} ${response.statusText}`);
  return response.arrayBuffer();
}
