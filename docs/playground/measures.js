// The numbers beneath the pictures, as in taba_utils/metrics. Tensors are flat, of shape [C, H, W]; masks are of H × W.

export const PLAIN_THRESHOLD = 0.025; // τ of App. C

export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Standard deviation with the divisor N; NaN without values. */
export function std(values) {
  const centre = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - centre) ** 2)));
}

/** |x - y|, entry by entry. */
export const distance = (x, y) => Array.from(x, (value, i) => Math.abs(value - y[i]));

/** M_p of App. C: pixels whose mean difference to the next row and column is below τ in every channel. */
export function plainMask(image, [channels, height, width], threshold = PLAIN_THRESHOLD) {
  const plain = new Array(height * width).fill(true);
  for (let i = 0; i < channels * height * width; i++) {
    const pixel = i % (height * width);
    const nextRow = pixel + width < height * width ? Math.abs(image[i + width] - image[i]) : 0;
    const nextColumn = (pixel + 1) % width ? Math.abs(image[i + 1] - image[i]) : 0;
    if (!((nextRow + nextColumn) / 2 < threshold)) plain[pixel] = false;
  }
  return plain;
}

/** The mask on a coarser grid: a cell is plain if all of its pixels are. */
export function poolMask(plain, [, height, width], [, rows, columns]) {
  const pooled = new Array(rows * columns).fill(true);
  plain.forEach((isPlain, pixel) => {
    const row = Math.floor((Math.floor(pixel / width) * rows) / height);
    const column = Math.floor(((pixel % width) * columns) / width);
    if (!isPlain) pooled[row * columns + column] = false;
  });
  return pooled;
}

/** Values of all channels on the pixels where the mask is `wanted`. */
export const inside = (values, mask, wanted) =>
  Array.from(values).filter((_, i) => mask[i % mask.length] === wanted);

/** Correlation of a pixel with the next one, averaged over both directions and all channels. */
export function neighbourCorrelation(x, [channels, height, width]) {
  const size = height * width;
  const ofChannel = (values) => {
    const centre = mean(values);
    const z = values.map((value) => value - centre);
    const variance = mean(z.map((value) => value ** 2));
    const across = mean(z.map((value, i) => value * z[i + 1]).filter((_, i) => (i + 1) % width));
    const down = mean(z.map((value, i) => value * z[i + width]).slice(0, -width));
    return variance > 0 ? (across + down) / 2 / variance : 0;
  };
  return mean(Array.from({ length: channels }, (_, c) => ofChannel(Array.from(x.slice(c * size, (c + 1) * size)))));
}

/** All numbers of a round trip; `shape` is that of the diffusion, `pixelShape` that of the decoded image. */
export function measure({ noise, latent, pixels, pixelsAgain, plain }, shape, pixelShape) {
  const error = distance(latent, noise);
  const cells = poolMask(plain, pixelShape, shape);
  return {
    noise_std: std(Array.from(noise)),
    noise_correlation: neighbourCorrelation(noise, shape),
    plain_share: mean(plain.map(Number)),
    latent_std_plain: std(inside(latent, cells, true)),
    latent_std_rest: std(inside(latent, cells, false)),
    latent_correlation: neighbourCorrelation(latent, shape),
    error: mean(error),
    error_plain: mean(inside(error, cells, true)),
    error_rest: mean(inside(error, cells, false)),
    again: mean(distance(pixelsAgain, pixels)),
  };
}
