// How an image file becomes a model's input: what the manifest says of that input, in Node and in a browser.
//
//     const [tensor] = manifest.inputs;
//     const image = prepare(await decode(bytes), tensor);          // {data: a typed array, shape}
//
// This is for your app: copy it. prepare.py is the same in Python. In Node it needs the packages fast-png and
// @jsquash/jpeg; a browser decodes more kinds. A picture is {data: 8 bits a value, width, height, channels: 1 to 4,
// interleaved}.

const LARGEST = 8192; // pixels of a height or width that a preparation may ask for
const MOST_PIXELS = 89478485; // of a picture, and of what it becomes on the way: as training has it

/** The bytes of an image file → a picture, colours as they are in the file, turned as its EXIF orientation says. A
 picture that training refuses is an error: one of several frames, or of too many pixels. */
export async function decode(bytes) {
  const file = headerOf(bytes);
  if (file.frames > 1) throw new TypeError(`a file of ${file.frames} frames, and a picture is one`);
  checkPixels(file);
  const inBrowser = globalThis.OffscreenCanvas !== undefined;
  const picture = await (inBrowser ? decodeInBrowser(bytes, file) : decodeInNode(bytes, file));
  const upright = inBrowser && file.kind === "jpeg"; // the browser has turned it
  return file.exif && !upright ? turned(picture, orientationIn(file.exif.data)) : picture;
}

function checkPixels({ width, height }) {
  if (width * height > MOST_PIXELS) {
    throw new RangeError(`a picture of ${height}×${width} pixels; at most ${MOST_PIXELS} are known here: reduce it`);
  }
}

/** A canvas multiplies colours by alpha and divides them again: of alpha 85 and more they come back to one step of
 1/255, of 64 to two, of 8 to sixteen, and of 0 not at all. Pictures with less have to be made opaque before. A JPEG the
 browser turns. Of PNG and WebP it depends on the browser (Chromium 156: PNG, where EXIF comes before the pixels), so it
 is not shown their EXIF, and `decode` turns them. */
async function decodeInBrowser(bytes, { kind, exif }) {
  // The training knew no colour profiles.
  const asStored = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
  const hidden = exif && kind !== "jpeg";
  const parts = hidden ? [bytes.slice(0, exif.start), exif.instead, bytes.slice(exif.end)] : [bytes];
  const bitmap = await createImageBitmap(new Blob(parts), asStored);
  const { width, height } = bitmap;
  checkPixels(bitmap); // of kinds whose header was not read
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: canvas.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

async function decodeInNode(bytes, { kind, components }) {
  if (kind === "jpeg") return decodeJpegInNode(bytes, components);
  if (kind !== "png") throw new TypeError("neither a PNG nor a JPEG file, which Node decodes here");
  const { convertIndexedToRgb, decode } = await import("fast-png");
  const picture = decode(bytes);
  if (picture.palette) return { ...picture, data: convertIndexedToRgb(picture), channels: picture.palette[0].length };
  if (picture.depth === 16) return { ...picture, data: Uint8Array.from(picture.data, (value) => value >> 8) };
  if (picture.depth !== 8) throw new TypeError(`a PNG file with ${picture.depth} bits a value; 8 and 16 are known here`);
  return picture;
}

/** By libjpeg as WebAssembly: the very values that Pillow and browsers give, of coarser colours (4:2:0), too. jpeg-js
 gives others: up to 4 steps of 1/255 apart, and with coarser colours up to 83. */
async function decodeJpegInNode(bytes, components) {
  if (components > 3) throw new TypeError("a JPEG file of four inks (CMYK), not decoded in Node: save it as RGB");
  const decode = await (jpegDecoder ??= loadJpegDecoder());
  const { data, width, height } = await decode(bytes).catch((error) => {
    throw new TypeError("a JPEG file that cannot be decoded", { cause: error });
  });
  return { data, width, height, channels: 4 };
}

let jpegDecoder;

async function loadJpegDecoder() {
  const { default: decode, init } = await import("@jsquash/jpeg/decode.js");
  const { readFile } = await import("node:fs/promises");
  // What it returns, and Node has none.
  globalThis.ImageData ??= class ImageData {
    constructor(data, width, height) {
      Object.assign(this, { data, width, height });
    }
  };
  const code = new URL(import.meta.resolve("@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm"));
  await init(await WebAssembly.compile(await readFile(code))); // by itself it would fetch this from a server
  return decode;
}

/** What a file says of its picture: `kind` (png, jpeg, webp, gif or empty), `width` and `height` as they are stored,
 `components` of a JPEG, `frames`, and `exif`: its `data`, and of PNG and WebP what may stand `instead` between `start`
 and `end`. What is not said, or is not read of this kind, is missing. */
function headerOf(bytes) {
  const file = ArrayBuffer.isView(bytes)
    ? new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new DataView(bytes);
  const starts = (...values) => values.every((value, n) => file.byteLength > 12 && file.getUint32(4 * n) === value);
  const webp = starts(0x52494646) && file.getUint32(8) === 0x57454250; // "RIFF", "WEBP"
  const kind = starts(0x89504e47) ? "png" : webp ? "webp" : starts(0x47494638) ? "gif" : jpeg(file) ? "jpeg" : "";
  const header = { kind };
  try {
    ({ png: readChunks, webp: readChunks, jpeg: readSegments, gif: readFrames })[kind]?.(file, header);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends before it should, as its decoder will say
  }
  return header;
}

const jpeg = (file) => file.byteLength > 12 && file.getUint32(0) >>> 8 === 0xffd8ff;

/** Of PNG and WebP: https://www.w3.org/TR/png-3/, https://developers.google.com/speed/webp/docs/riff_container */
function readChunks(file, header) {
  const png = header.kind === "png";
  const size = file.byteLength;
  for (let at = png ? 8 : 12; at + 8 <= size; ) {
    const length = png ? file.getUint32(at) : file.getUint32(at + 4, true);
    const name = file.getUint32(png ? at + 4 : at);
    const next = at + 8 + length + (png ? 4 : length % 2); // a checksum; a filling byte
    const field = (place) => file.getUint32(at + 8 + place);
    if (name === 0x49484452) Object.assign(header, { width: field(0), height: field(4) }); // IHDR
    if (name === 0x6163544c) header.frames = field(0); // acTL
    if (name === 0x414e4d46) header.frames = (header.frames ?? 0) + 1; // ANMF
    if (!header.exif && name === (png ? 0x65584966 : 0x45584946)) {
      const data = new DataView(file.buffer, file.byteOffset + at + 8, Math.min(length, size - at - 8));
      // Cut out of a PNG; renamed in a WebP, whose first bytes say how long it is.
      const [end, instead] = png ? [next, ""] : [at + 4, "none"];
      header.exif = { data, start: at, end, instead };
    }
    at = next;
  }
}

/** Of JPEG, up to its pixels: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1.1.3 */
function readSegments(file, header) {
  for (let at = 2; ; ) {
    const marker = file.getUint16(at);
    if (marker === 0xffff) at += 1; // a filling byte
    else if (marker < 0xff01 || marker === 0xffda || marker === 0xffd9) return; // pixels, the end, or no marker
    else if (marker === 0xff01 || (marker >= 0xffd0 && marker <= 0xffd8)) at += 2; // without a length
    else {
      const length = file.getUint16(at + 2);
      const frame = marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
      if (frame) Object.assign(header, { height: file.getUint16(at + 5), width: file.getUint16(at + 7) });
      if (frame) header.components = file.getUint8(at + 9);
      if (!header.exif && marker === 0xffe1 && file.getUint32(at + 4) === 0x45786966) {
        header.exif = { data: new DataView(file.buffer, file.byteOffset + at + 4, length - 2) };
      }
      at += 2 + length;
    }
  }
}

/** Of GIF, all of it: how many frames there are is known by counting them.
 https://www.w3.org/Graphics/GIF/spec-gif89a.txt */
function readFrames(file, header) {
  const table = (flags) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  Object.assign(header, { width: file.getUint16(6, true), height: file.getUint16(8, true), frames: 0 });
  for (let at = 13 + table(file.getUint8(10)); file.getUint8(at) !== 0x3b; ) {
    const frame = file.getUint8(at) === 0x2c; // else an extension
    if (frame) header.frames += 1;
    at += frame ? 11 + table(file.getUint8(at + 9)) : 2;
    while (file.getUint8(at) !== 0) at += 1 + file.getUint8(at); // blocks of bytes
    at += 1;
  }
}

/** The orientation that EXIF says, 1 to 8; 1, as it is stored, where it says none or is damaged. It is a TIFF without a
 picture: https://www.w3.org/TR/png-3/#eXIf */
function orientationIn(exif) {
  try {
    const start = exif.getUint32(0) === 0x45786966 ? 6 : 0; // some write "Exif" and two zeros before it
    const little = exif.getUint16(start) === 0x4949; // "II"
    const first = start + exif.getUint32(start + 4, little);
    for (let n = 0; n < exif.getUint16(first, little); n++) {
      const tag = first + 2 + 12 * n;
      if (exif.getUint16(tag, little) !== 0x0112) continue;
      const orientation = exif.getUint16(tag + 8, little);
      return orientation >= 1 && orientation <= 8 ? orientation : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends before it should
  }
  return 1;
}

/** A picture as its camera held it. */
function turned({ data, width, height, channels }, orientation) {
  const fromRight = [2, 3, 7, 8].includes(orientation);
  const fromBelow = [3, 4, 6, 7].includes(orientation);
  const across = fromRight ? -1 : 1; // to the next pixel that is stored in a row, and in a column
  const down = fromBelow ? -width : width;
  const lies = orientation > 4; // on its side: what is stored as a row becomes a column
  const [newWidth, newHeight] = lies ? [height, width] : [width, height];
  const [step, line] = lies ? [down, across] : [across, down];
  const upright = new Uint8ClampedArray(data.length);
  let start = (fromRight ? width - 1 : 0) + (fromBelow ? (height - 1) * width : 0);
  let at = 0;
  for (let y = 0; y < newHeight; y++, start += line)
    for (let x = 0, pixel = start; x < newWidth; x++, pixel += step)
      for (let c = 0; c < channels; c++) upright[at++] = data[pixel * channels + c];
  return { data: upright, width: newWidth, height: newHeight, channels };
}

/** A picture → what a tensor of the manifest takes: its size, layout and type. */
export function prepare(picture, tensor) {
  const { resize, crop, interpolation, antialias, channels, scale } = tensor.preparation;
  if (!Object.hasOwn(KERNELS, interpolation) || !antialias || channels !== "RGB") {
    throw new TypeError(`preparation ${interpolation}, antialias ${antialias}, ${channels}: not known here`);
  }
  checkSizes(resize, crop);
  const [height, width] = crop ? covering(picture, resize) : resize;
  if (width * Math.max(height, picture.height) > MOST_PIXELS) {
    const sizes = `a picture of ${picture.height}×${picture.width} pixels, resized to ${height}×${width},`;
    throw new RangeError(`${sizes} takes more than ${MOST_PIXELS} on the way: cut its long side off`);
  }
  const resized = resizeTo(picture, height, width, interpolation);
  const whole = { top: 0, left: 0, height: resized.height, width: resized.width };
  const window = crop ? central(resized, ...crop) : whole;
  return quantized(laidOut(resized, window, scale, tensor.layout), tensor);
}

/** Sizes that memory has room for, and no crop larger than what it is cut from; an error for others. */
function checkSizes(resize, crop) {
  const sides = [...resize, ...(crop ?? [])];
  if (!sides.every((side) => Number.isInteger(side) && side >= 1 && side <= LARGEST)) {
    throw new RangeError(`preparation ${sides}: a height and a width of 1 to ${LARGEST} pixels are known here`);
  }
  if (crop?.some((side, axis) => side > resize[axis])) {
    throw new RangeError(`preparation: crop ${crop} is larger than resize ${resize}, which it is cut from`);
  }
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

/** The weight of an old place by its distance from the new one's centre, and how far it reaches; both in old places or,
 where there will be fewer, in new ones. */
const KERNELS = {
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - x) },
  bicubic: { reach: 2, weight: cubic },
};

/** Keys' kernel with a = -0.5, which Pillow and torch have: https://en.wikipedia.org/wiki/Bicubic_interpolation */
function cubic(x) {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
}

/** With antialiasing: first every row, then every column, rounded and clamped to 8 bits each time. */
export function resizeTo({ data, width, height, channels }, newHeight, newWidth, interpolation) {
  const kernel = KERNELS[interpolation];
  const row = newWidth * channels;
  const rows = { lines: height, line: width * channels, step: channels, count: channels };
  const columns = { lines: 1, line: 0, step: row, count: row }; // all side by side
  const resized = resample(resample(data, rows, width, newWidth, kernel), columns, height, newHeight, kernel);
  return { data: resized, width: newWidth, height: newHeight, channels };
}

/** Resample each of `lines` lines (one starts `line` values after the other) of `length` places that are `step` values
 apart and have `count` values each. */
function resample(data, { lines, line, step, count }, length, newLength, kernel) {
  if (newLength === length) return data;
  const found = new Uint8ClampedArray(lines * newLength * count);
  const windows = windowsOf(length, newLength, kernel);
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

/** For each new place the first old one that counts and the weights from there on, which are 1 together. */
function windowsOf(length, newLength, kernel) {
  const ratio = length / newLength;
  const unit = Math.max(1, ratio);
  const reach = kernel.reach * unit;
  return Array.from({ length: newLength }, (_, place) => {
    const centre = (place + 0.5) * ratio;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const end = Math.min(length, Math.floor(centre + reach + 0.5));
    const heights = Array.from({ length: end - first }, (_, k) => {
      return kernel.weight(Math.abs(first + k + 0.5 - centre) / unit);
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
