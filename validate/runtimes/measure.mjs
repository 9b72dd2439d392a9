// Runs golden inputs through an artifact in a JavaScript runtime: what `measure` in runner.py is for Python.
//
//     worker.call(Path("validate/runtimes/measure.mjs"), "measure", {runner, path, …}, log, limit_s)      in Node
//     run(job, read, write)                                                                              anywhere
//
// A runner exports `version()` and `activate(path, manifest, threads, backend)`, which gives infer: named arrays in,
// named arrays out. An array is {data: typed array, shape}. infer is given what the manifest says the artifact takes, and
// may say by `infer.threads` how many it really uses.

import { decode, prepare } from "../preparation/prepare.mjs";
import { encode, open, size } from "./safetensors.mjs";
import { restored, stored } from "./tensor.mjs";

const BATCH = 8; // samples per call while outputs are collected, at most, unless the runner has its own BATCH
const LEAST = 4; // samples that are run however long they take
const PROBED = 2; // samples that are run once more, and each alone
const LEAST_PATTERNS = 2; // patterns that are run however long they take: black and white
const LEAST_FRESH = 2; // inputs made anew that are run however long they take
const BUDGET = {
  collect_s: 30,
  call_s: 4,
  files_s: 5,
  patterns_s: 10,
  batches_s: 1,
  fresh_s: 1,
  further_s: 30,
  warm_up: 5,
  warm_up_s: 1,
  timed: 50,
  timed_s: 5,
}; // as job.py

/** In Node; files by their paths. */
export async function measure(job) {
  const files = await import("node:fs/promises");
  const { pathToFileURL } = await import("node:url");
  const opened = [];
  const reader = async (path) => {
    const file = await files.open(path);
    opened.push(file);
    return async (start, end) => (await file.read(new Uint8Array(end - start), 0, end - start, start)).buffer;
  };
  try {
    const further = [];
    for (const file of job.further ?? []) further.push(await reader(file));
    const read = { golden: await reader(job.golden), probes: job.probes && (await reader(job.probes)), further };
    const write = (bytes) => files.writeFile(job.out, bytes);
    return await run({ ...job, runner: pathToFileURL(job.runner).href }, read, write);
  } finally {
    for (const file of opened) await file.close();
  }
}

/** With `read.golden(start, end)` bytes of golden, `read.probes` those of the probes (or none), `read.further` those of
 each file of further samples, and `write(bytes)` of the outputs: a safetensors file, by name.

 → runtime_version, samples, from_file, further, latency_ms {median, p90, calls, batch, threads}. */
export async function run(job, read, write) {
  const runner = await import(job.runner);
  const { manifest } = job;
  const budget = { ...BUDGET, ...job.budget };
  const infer = await runner.activate(job.path, manifest, job.threads, job.backend);
  const inputs = await inputsOf(await open(read.golden), manifest, job.samples);
  const count = Object.values(inputs)[0].shape[0];
  const fixed = manifest.inputs[0].shape[0];
  const sizes = job.batches ?? [];
  const wanted = Number.isInteger(fixed) ? fixed : (runner.BATCH ?? BATCH);
  const batch = sizes.length ? await paced(infer, slice(inputs, 0, 1), wanted, budget.call_s) : wanted;
  const parts = [];
  const start = performance.now();
  const end = start + 1e3 * budget.collect_s;
  let done = 0;
  for (; done < count && (done < LEAST || performance.now() < end); done += batch) {
    parts.push(asGolden(await infer(slice(inputs, done, done + batch)), manifest));
  }
  const samples = Math.min(done, count);
  const each = (performance.now() - start) / 1e3 / Math.max(1, samples);
  const beside = await probed(infer, slice(inputs, 0, PROBED), manifest, batch);
  const probes = read.probes && (await open(read.probes));
  const files = probes ? await fromFiles(infer, probes, manifest, budget) : {};
  const patterns = probes ? await ofPatterns(infer, probes, manifest, budget) : {};
  const resized = probes ? await ofSizes(infer, probes, manifest, batch) : {};
  const fresh = probes ? await anew(infer, probes, manifest, batch, budget) : {};
  const batches = await batched(infer, inputs, manifest, sizes.filter((size) => size <= samples), batch, each, budget);
  const further = await beyond(infer, read.further ?? [], job, batch, each, budget);
  const { times, last } = await latency(infer, slice(inputs, 0, 1), budget);
  await write(
    encode({
      ...named("golden", concatenate(parts)),
      ...beside,
      ...files.outputs,
      ...patterns,
      ...resized,
      ...fresh,
      ...further.outputs,
      ...batches,
      ...named("last", asGolden(last, manifest)),
    }),
  );
  return {
    runtime_version: await runner.version(),
    samples,
    from_file: files.measured ?? null,
    further: further.taken ?? null,
    latency_ms: { ...summary(times), calls: times.length, batch: 1, threads: infer.threads ?? job.threads },
  };
}

/** The samples of a call, `most` or fewer, so that it takes no longer than its seconds, by the time of one. */
async function paced(infer, one, most, seconds) {
  let each = 0;
  for (let call = 0; call < 2; call++) { // the first may have prepared something
    const start = performance.now();
    await infer(one);
    each = (performance.now() - start) / 1e3;
    if (most * each <= seconds) return most;
  }
  return Math.max(1, Math.floor(seconds / each));
}

/** Image files, decoded and prepared as an app does it and run one by one, and training's inputs of the same images.

 → {outputs: `file.` and `training.` before their names, measured: {samples, input_steps: greatest difference of the
 inputs in 1/255}}. */
async function fromFiles(infer, probes, manifest, budget) {
  const pictures = manifest.inputs.filter((tensor) => tensor.preparation);
  const count = probes.names.filter((name) => name.startsWith(`file.${pictures[0]?.name}.`)).length;
  if (!count) return {};
  const trained = await inputsOf(probes, manifest, count);
  const parts = { file: [], training: [] };
  const end = performance.now() + 1e3 * budget.files_s;
  let steps = 0;
  for (let n = 0; n < count && (n === 0 || performance.now() < end); n++) {
    const theirs = slice(trained, n, n + 1);
    const ours = { ...theirs };
    for (const tensor of pictures) {
      ours[tensor.name] = prepare(await decode(await probes.bytes(`file.${tensor.name}.${n}`)), tensor);
      steps = Math.max(steps, distance(ours[tensor.name], theirs[tensor.name], tensor));
    }
    parts.file.push(asGolden(await infer(ours), manifest));
    parts.training.push(asGolden(await infer(theirs), manifest));
  }
  const outputs = {};
  for (const [way, each] of Object.entries(parts)) Object.assign(outputs, named(way, concatenate(each)));
  return { outputs, measured: { samples: parts.file.length, input_steps: steps } };
}

/** Outputs of the checkpoint's patterns by name, `pattern.` before it, run one by one as PyTorch did; none, where it
 has none. */
async function ofPatterns(infer, probes, manifest, budget) {
  const [first] = manifest.inputs;
  if (!probes.names.includes(`pattern.input.${first.name}`)) return {};
  const inputs = await inputsOf(probes, manifest, Infinity, "pattern.input.");
  const count = Object.values(inputs)[0].shape[0];
  const parts = [];
  const end = performance.now() + 1e3 * budget.patterns_s;
  for (let n = 0; n < count && (n < LEAST_PATTERNS || performance.now() < end); n++) {
    parts.push(asGolden(await infer(slice(inputs, n, n + 1)), manifest));
  }
  return named("pattern", concatenate(parts));
}

/** Outputs at other heights and widths by number and name, `sized.0.` before it; none, where the artifact takes one. */
async function ofSizes(infer, probes, manifest, batch) {
  const outputs = {};
  if (!manifest.inputs.some(({ shape }) => shape.slice(1).some((axis) => typeof axis === "string"))) return outputs;
  for (let n = 0; probes.names.includes(`sized.${n}.input.${manifest.inputs[0].name}`); n++) {
    const inputs = await inputsOf(probes, manifest, Infinity, `sized.${n}.input.`);
    const count = Object.values(inputs)[0].shape[0];
    const parts = [];
    for (let at = 0; at < count; at += batch) parts.push(asGolden(await infer(slice(inputs, at, at + batch)), manifest));
    Object.assign(outputs, named(`sized.${n}`, concatenate(parts)));
  }
  return outputs;
}

/** Outputs for inputs that were made anew by name, `fresh.` before it: as many as time allows; none: there are none. */
async function anew(infer, probes, manifest, batch, budget) {
  if (!probes.names.includes(`fresh.input.${manifest.inputs[0].name}`)) return {};
  const inputs = await inputsOf(probes, manifest, Infinity, "fresh.input.");
  const count = Object.values(inputs)[0].shape[0];
  const size = Math.min(batch, LEAST_FRESH);
  const parts = [];
  const end = performance.now() + 1e3 * budget.fresh_s;
  for (let at = 0; at < count && (at < LEAST_FRESH || performance.now() < end); at += size) {
    parts.push(asGolden(await infer(slice(inputs, at, at + size)), manifest));
  }
  return named("fresh", concatenate(parts));
}

/** Outputs of the first golden inputs in one call, by each number of them and name, `batches.33.` before it; the number
 that golden was run in is left out, and so is what time does not allow: of a slow artifact all but the least. */
async function batched(infer, inputs, manifest, sizes, batch, each, budget) {
  const outputs = {};
  const others = sizes.filter((size) => size !== batch);
  const affordable = others.filter((size) => size * each <= budget.call_s);
  const least = [...others].sort((a, b) => a - b).slice(0, 1);
  const end = performance.now() + 1e3 * budget.batches_s;
  for (const size of affordable.length ? affordable : least) {
    if (performance.now() >= end) continue;
    Object.assign(outputs, named(`batches.${size}`, asGolden(await infer(slice(inputs, 0, size)), manifest)));
  }
  return outputs;
}

/** Outputs for all further samples by name, `further.` before it, file by file; none, where they would take longer than
 allowed, by the seconds that a golden input took. → {outputs, taken: {samples, seconds}}; {}: there are none. */
async function beyond(infer, files, job, batch, each, budget) {
  if (!files.length) return {};
  const expected = each * job.further_samples;
  if (expected > budget.further_s) return { taken: { samples: 0, seconds: expected } };
  const parts = [];
  const start = performance.now();
  let samples = 0;
  for (const file of files) {
    const inputs = await inputsOf(await open(file), job.manifest, Infinity);
    const count = Object.values(inputs)[0].shape[0];
    for (let at = 0; at < count; at += batch) parts.push(asGolden(await infer(slice(inputs, at, at + batch)), job.manifest));
    samples += count;
  }
  const seconds = (performance.now() - start) / 1e3;
  return { outputs: named("further", concatenate(parts)), taken: { samples, seconds } };
}

/** The greatest difference of two inputs, in 1/255 of what they stand for. */
function distance(one, other, { name, scale }) {
  if (String(one.shape) !== String(other.shape)) {
    throw new RangeError(`${name} from a file has shape [${one.shape}], training's [${other.shape}]`);
  }
  return 255 * (scale ?? 1) * one.data.reduce((most, value, n) => Math.max(most, Math.abs(value - other.data[n])), 0);
}

/** Outputs of a few inputs in one call, of the same again and, where there are batches, of each alone, by name:
 what tells whether they depend on anything but the input. */
async function probed(infer, few, manifest, batch) {
  const count = Math.min(PROBED, Object.values(few)[0].shape[0]);
  const ways = { together: batch, again: batch, ...(batch > 1 ? { alone: 1 } : {}) };
  const found = {};
  for (const [way, size] of Object.entries(ways)) {
    const parts = [];
    for (let at = 0; at < count; at += size) parts.push(asGolden(await infer(slice(few, at, at + size)), manifest));
    Object.assign(found, named(way, concatenate(parts)));
  }
  return found;
}

/** The inputs in a file, as the checkpoint has them, in the layout and type that the artifact takes. */
export async function inputsOf(file, manifest, samples, before = "input.") {
  const inputs = {};
  for (const tensor of manifest.inputs) {
    inputs[tensor.name] = stored(await file.rows(`${before}${tensor.name}`, samples), tensor);
  }
  return inputs;
}

/** Arrays as records/golden.py names them in a file: `golden.logits`. */
const named = (way, arrays) =>
  Object.fromEntries(Object.entries(arrays).map(([name, array]) => [`${way}.${name}`, array]));

/** Outputs as the checkpoint has them, by name; one that the manifest does not name, as it is. */
export function asGolden(outputs, manifest) {
  const named = Object.fromEntries(manifest.outputs.map((tensor) => [tensor.name, tensor]));
  return Object.fromEntries(
    Object.entries(outputs).map(([name, array]) => [name, restored(array, named[name] ?? {})]),
  );
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
    const data = new arrays[0].data.constructor(arrays.reduce((sum, one) => sum + one.data.length, 0));
    let at = 0;
    for (const one of arrays) {
      data.set(one.data, at);
      at += one.data.length;
    }
    return { data, shape: [rows, ...arrays[0].shape.slice(1)] };
  };
  return Object.fromEntries(Object.keys(parts[0]).map((name) => [name, joined(name)]));
}

/** Milliseconds of calls with one sample, and what the last of them returned. */
async function latency(infer, one, budget) {
  const warm = performance.now() + 1e3 * budget.warm_up_s;
  for (let calls = 0; calls < budget.warm_up && performance.now() < warm; calls++) await infer(one);
  const times = [];
  let last;
  const end = performance.now() + 1e3 * budget.timed_s;
  while (times.length < Math.max(1, budget.timed) && (times.length === 0 || performance.now() < end)) {
    const start = performance.now();
    last = await infer(one);
    times.push(performance.now() - start);
  }
  return { times, last };
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
