// Tensors as pictures. The canvas has one pixel for each entry; CSS enlarges it.

const LARGEST_ERROR = 1.5; // the brightest colour of |latent - noise|; one scale for all settings
const HEAT = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]]; // magma

/** Colours of a pixel whose channels have these values: red, green, blue, 0 to 255. Of four channels three are shown. */
const LOOKS = {
  noise: (channels) => inColour(channels).map((value) => (value / 6 + 0.5) * 255),
  pixels: (channels) => inColour(channels).map((value) => (value / 2 + 0.5) * 255),
  mask: ([plain]) => (plain ? [222, 222, 222] : [40, 40, 40]),
  error: (channels) => heat(channels.reduce((sum, value) => sum + value, 0) / channels.length / LARGEST_ERROR),
};

/** Draw `values`, flat and of shape [C, H, W], with one of the looks. */
export function draw(canvas, values, [channels, height, width], look) {
  const size = height * width;
  const picture = new ImageData(width, height);
  for (let pixel = 0; pixel < size; pixel++) {
    const entries = Array.from({ length: channels }, (_, c) => values[c * size + pixel]);
    picture.data.set([...LOOKS[look](entries), 255], 4 * pixel); // clamps to 0..255
  }
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

const inColour = (channels) => (channels.length < 3 ? [channels[0], channels[0], channels[0]] : channels.slice(0, 3));

function heat(share) {
  const place = Math.min(Math.max(share, 0), 1) * (HEAT.length - 1);
  const below = Math.min(Math.floor(place), HEAT.length - 2);
  return HEAT[below].map((value, i) => value + (place - below) * (HEAT[below + 1][i] - value));
}
