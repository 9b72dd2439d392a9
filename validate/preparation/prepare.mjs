// How an image file becomes a model's input: what the manifest says of that input, in Node and in a browser.
//
//     const [tensor] = manifest.inputs;
//     const image = prepare(await decode(bytes), tensor);          // {data: a typed array, shape}
//
// This is for your app: copy it. preparation.py is the same in Python. In Node it needs the package fast-png; a browser
// decodes JPEG and WebP as well. A picture is {data: 8 bits a value, width, height, channels: 1 to 4, interleaved}.

/** The bytes of an image file → a picture, colours as they are in the file. */
export const decode = (bytes) => (globalThis.OffscreenCanvas ? decodeInBrowser(bytes) : decodeInNode(bytes));

/** A canvas loses the colours of what is transparent: such pictures have to be made opaque before. */
async function decodeInBrowser(bytes) {
  const asStored = { colorSpaceConversion: "none", premultiplyAlpha: "none" }; // the training knew no colour profiles
  const bitmap = await createImageBitmap(new Blob([bytes]), asStored);
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: canvas.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

async function decodeInNode(bytes) {
  const { convertIndexedToRgb, decode } = await import("fast-png");
  const picture = decode(bytes);
  if (picture.palette) return { ...picture, data: convertIndexedToRgb(picture), channels: picture.palette[0].length };
  if (picture.depth !== 8) throw new TypeError(`a PNG file with ${picture.depth} bits a value; 8 are known here`);
  return picture;
}

/** A picture → what a tensor of the manifest takes: its size, layout and type. */
export function prepare(picture, tensor) {
  const { resize, crop, interpolation, antialias, channels, scale } = tensor.preparation;
  if (interpolation !== "bilinear" || !antialias || channels !== "RGB") {
    throw new TypeError(`preparation ${interpolation}, antialias ${antialias}, ${channels}: not known here`);
  }
  const resized = resizeTo(picture, ...(crop ? covering(picture, resize) : resize));
  const whole = { top: 0, left: 0, height: resized.height, width: resized.width };
  const window = crop ? central(resized, ...crop) : whole;
  return quantized(laidOut(resized, window, scale, tensor.layout), tensor);
}

/** Height and width in a picture's own ratio that just cover those asked for. */
const covering = (picture, [height, width]) =>
  height * picture.width >= width * picture.height
    ? [height, Math.floor((height * picture.width) / picture.height)]
    : [Math.floor((width * picture.height) / picture.width), width];

/** What is left when as much is cut off left as right, and above as below. */
const central = (picture, height, width) => ({
  top: roundHalfEven((picture.height - height) / 2),
  left: roundHalfEven((picture.width - width) / 2),
  height,
  width,
});

/** Bilinear with antialiasing: first every row, then every column, rounded to 8 bits each time. */
export function resizeTo({ data, width, height, channels }, newHeight, newWidth) {
  const row = newWidth * channels;
  const rows = { lines: height, line: width * channels, step: channels, count: channels };
  const columns = { lines: 1, line: 0, step: row, count: row }; // all side by side
  const resized = resample(resample(data, rows, width, newWidth), columns, height, newHeight);
  return { data: resized, width: newWidth, height: newHeight, channels };
}

/** Resample each of `lines` lines (one starts `line` values after the other) of `length` places that are `step` values
 apart and have `count` values each. */
function resample(data, { lines, line, step, count }, length, newLength) {
  if (newLength === length) return data;
  const found = new Uint8ClampedArray(lines * newLength * count);
  const windows = triangles(length, newLength);
  let at = 0;
  for (let start = 0, n = 0; n < lines; n++, start += line) {
    for (const { first, weights } of windows) {
      for (let value = start + first * step, c = 0; c < count; c++, value++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * data[value + k * step];
        found[at++] = Math.floor(sum + 0.5); // a clamped array by itself rounds 0.5 to 0
      }
    }
  }
  return found;
}

/** For each new place the first old one that counts and the weights from there on: a triangle around its centre, as wide
 as two old places or, when there will be fewer, as two new ones. */
function triangles(length, newLength) {
  const ratio = length / newLength;
  const reach = Math.max(1, ratio);
  return Array.from({ length: newLength }, (_, place) => {
    const centre = (place + 0.5) * ratio;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const end = Math.min(length, Math.floor(centre + reach + 0.5));
    const heights = Array.from({ length: end - first }, (_, k) => {
      return Math.max(0, 1 - Math.abs(first + k + 0.5 - centre) / reach);
    });
    const sum = heights.reduce((total, one) => total + one, 0);
    return { first, weights: Float64Array.from(heights, (one) => one / sum) };
  });
}

/** A window of a picture as float32, times scale: (1, 3, H, W), or (1, H, W, 3) for NHWC. Gray is repeated, alpha is
 dropped. */
function laidOut({ data, width, channels }, { top, left, height, width: wide }, scale, layout) {
  const floats = new Float32Array(3 * height * wide);
  const last = layout === "NHWC";
  let at = 0;
  for (let y = top; y < top + height; y++)
    for (let x = left; x < left + wide; x++, at++)
      for (let c = 0; c < 3; c++) {
        const value = data[(y * width + x) * channels + (channels < 3 ? 0 : c)];
        floats[last ? at * 3 + c : c * height * wide + at] = value * scale;
      }
  return { data: floats, shape: last ? [1, height, wide, 3] : [1, 3, height, wide] };
}

const INTEGERS = {
  uint8: [Uint8Array, 0, 255],
  int8: [Int8Array, -128, 127],
  int16: [Int16Array, -32768, 32767],
};

/** Integers, where the tensor has a scale: round(x / scale) + zero point, within the type's range. */
export function quantized({ data, shape }, { name, dtype, scale, zero_point: zero }) {
  if (dtype === "float32") return { data, shape };
  if (!(dtype in INTEGERS) || scale == null) throw new TypeError(`input ${name}: ${dtype} with scale ${scale}`);
  const [Type, least, greatest] = INTEGERS[dtype];
  const step = Math.fround(scale);
  const convert = (x) => Math.min(Math.max(roundHalfEven(Math.fround(x / step)) + zero, least), greatest);
  return { data: Type.from(data, convert), shape };
}

/** As numpy and torchvision round. */
function roundHalfEven(x) {
  return Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}
