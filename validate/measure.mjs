// Runs golden inputs through an artifact in a JavaScript runtime: what `measure` in runner.py is for Python.
//
//     worker.call(Path("validate/measure.mjs"), "measure", {runner, path, …}, log, limit_s)      in Node
//     run(job, read, write)                                                                      anywhere
//
// A runner exports `version()` and `activate(path, manifest, threads, backend)`, which gives infer: named arrays in,
// named arrays out. An array is {data: typed array, shape}. infer is given what the manifest says the artifact takes, and
// may say by `infer.threads` how many it really uses.

import { encode, open, size } from "./safetensors.mjs";

const BATCH = 8; // samples per call while outputs are collected, unless the runner has its own BATCH
const PROBED = 2; // samples that are run once more, and each alone
const WARM_UP = 5; // calls with one sample before latency is taken …
const WARM_UP_MS = 5_000; // … of slow ones fewer
const TIMED = 50; // calls timed at most …
const TIMED_MS = 10_000; // … none after this

/** In Node; files by their paths. */
export async function measure(job) {
  const files = await import("node:fs/promises");
  const { pathToFileURL } = await import("node:url");
  const golden = await files.open(job.golden);
  const read = async (start, end) => (await golden.read(new Uint8Array(end - start), 0, end - start, start)).buffer;
  try {
    const write = (bytes) => files.writeFile(job.out, bytes);
    return await run({ ...job, runner: pathToFileURL(job.runner).href }, read, write);
  } finally {
    await golden.close();
  }
}

/** With `read(start, end)` bytes of golden, and `write(bytes)` of the outputs: a safetensors file, by name.

 → runtime_version, samples, latency_ms {median, p90, calls, batch, threads}. */
export async function run(job, read, write) {
  const runner = await import(job.runner);
  const { manifest } = job;
  const infer = await runner.activate(job.path, manifest, job.threads, job.backend);
  const inputs = await goldenInputs(await open(read), manifest, job.samples);
  const count = Object.values(inputs)[0].shape[0];
  const fixed = manifest.inputs[0].shape[0];
  const batch = Number.isInteger(fixed) ? fixed : (runner.BATCH ?? BATCH);
  const parts = [];
  const end = performance.now() + 1e3 * (job.collect_s ?? Infinity);
  let done = 0;
  for (; done < count && (done === 0 || performance.now() < end); done += batch) {
    parts.push(float32(await infer(slice(inputs, done, done + batch)), manifest));
  }
  await write(encode({ ...concatenate(parts), ...(await probed(infer, slice(inputs, 0, PROBED), manifest, batch)) }));
  const times = await latency(infer, slice(inputs, 0, 1));
  return {
    runtime_version: await runner.version(),
    samples: Math.min(done, count),
    latency_ms: { ...summary(times), calls: times.length, batch: 1, threads: infer.threads ?? job.threads },
  };
}

/** Outputs of a few inputs in one call, of the same again and, where there are batches, of each alone, by name:
 what tells whether they depend on anything but the input. */
async function probed(infer, few, manifest, batch) {
  const count = Math.min(PROBED, Object.values(few)[0].shape[0]);
  const ways = { together: batch, again: batch, ...(batch > 1 ? { alone: 1 } : {}) };
  const found = {};
  for (const [way, size] of Object.entries(ways)) {
    const parts = [];
    for (let at = 0; at < count; at += size) parts.push(float32(await infer(slice(few, at, at + size)), manifest));
    for (const [name, array] of Object.entries(concatenate(parts))) found[`${way}.${name}`] = array;
  }
  return found;
}

/** Golden's inputs, (N, 3, H, W) float32, in the layout and type that the artifact takes. */
export async function goldenInputs(golden, manifest, samples) {
  const inputs = {};
  for (const tensor of manifest.inputs) {
    const array = await golden.rows(`input.${tensor.name}`, samples);
    inputs[tensor.name] = quantized(tensor.layout === "NHWC" ? channelsLast(array) : array, tensor);
  }
  return inputs;
}

/** (N, C, H, W) → (N, H, W, C) */
export function channelsLast({ data, shape: [count, channels, height, width] }) {
  const pixels = height * width;
  const turned = new Float32Array(data.length);
  for (let n = 0; n < count; n++)
    for (let c = 0; c < channels; c++)
      for (let p = 0; p < pixels; p++)
        turned[(n * pixels + p) * channels + c] = data[(n * channels + c) * pixels + p];
  return { data: turned, shape: [count, height, width, channels] };
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

/** As numpy rounds. */
function roundHalfEven(x) {
  return Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

/** Outputs as float32, integers that have a scale in the numbers they stand for. */
export function float32(outputs, manifest) {
  const converted = {};
  for (const [name, { data, shape }] of Object.entries(outputs)) {
    const { scale, zero_point: zero } = manifest.outputs.find((tensor) => tensor.name === name) ?? {};
    const meant = data instanceof Float32Array || scale == null ? Number : (x) => (x - zero) * Math.fround(scale);
    converted[name] = { data: Float32Array.from(data, meant), shape };
  }
  return converted;
}

/** Of every array the rows from start to end. */
export function slice(arrays, start, end) {
  const cut = ([name, { data, shape: [rows, ...rest] }]) => {
    const last = Math.min(end, rows);
    return [name, { data: data.slice(start * size(rest), last * size(rest)), shape: [last - start, ...rest] }];
  };
  return Object.fromEntries(Object.entries(arrays).map(cut));
}

/** The rows of all parts, one after the other, by name. */
function concatenate(parts) {
  const joined = (name) => {
    const arrays = parts.map((part) => part[name]);
    const rows = arrays.reduce((sum, { shape }) => sum + shape[0], 0);
    const data = new Float32Array(arrays.reduce((sum, one) => sum + one.data.length, 0));
    let at = 0;
    for (const one of arrays) {
      data.set(one.data, at);
      at += one.data.length;
    }
    return { data, shape: [rows, ...arrays[0].shape.slice(1)] };
  };
  return Object.fromEntries(Object.keys(parts[0]).map((name) => [name, joined(name)]));
}

/** Milliseconds of calls with one sample. */
async function latency(infer, one) {
  const warm = performance.now() + WARM_UP_MS;
  for (let calls = 0; calls < WARM_UP && performance.now() < warm; calls++) await infer(one);
  const times = [];
  const end = performance.now() + TIMED_MS;
  while (times.length < TIMED && (times.length === 0 || performance.now() < end)) {
    const start = performance.now();
    await infer(one);
    times.push(performance.now() - start);
  }
  return times;
}

/** Median and 90th percentile, as Python's `statistics.quantiles(method="inclusive")` has them. */
export function summary(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const quantile = (share) => {
    const at = share * (sorted.length - 1);
    const below = Math.floor(at);
    return sorted[below] + (at - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
  };
  return { median: quantile(0.5), p90: quantile(0.9) };
}
