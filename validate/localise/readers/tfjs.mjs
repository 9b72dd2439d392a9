// A TensorFlow.js graph model in Node on the wasm backend, which every tensor can be asked of.

import fs from "node:fs/promises";
import * as core from "@tensorflow/tfjs-core";
import * as converter from "@tensorflow/tfjs-converter";
import "@tensorflow/tfjs-backend-wasm";
import { inputsOf, slice } from "../../runtimes/measure.mjs";
import { fromDisk } from "../../runtimes/runners/tfjs_in_node.mjs";
import { encode, open } from "../../runtimes/safetensors.mjs";

export const TOOLCHAIN = "web";

/** Of the runtime. */
export const version = () => `tfjs ${core.version_core} wasm, Node ${process.versions.node}`;

/** Those of the tensors that are there, in graph order: tensor, operator, scale; arrays to `out` as `i`. */
export async function collect({ path, manifest, names, golden, samples, out }) {
  await core.setBackend("wasm");
  const { node: nodes } = JSON.parse(await fs.readFile(path, "utf8")).modelTopology;
  const wanted = nodes.map(({ name, op }) => ({ tensor: canonical(name), operator: op, scale: null, name }));
  const known = wanted.filter(({ tensor }) => names.includes(tensor));
  const model = await converter.loadGraphModel(fromDisk(path));
  const file = await fs.open(golden);
  const read = async (start, end) => (await file.read(new Uint8Array(end - start), 0, end - start, start)).buffer;
  const inputs = await inputsOf(await open(read), manifest, samples);
  await file.close();
  const fixed = manifest.inputs[0].shape[0];
  const step = Number.isInteger(fixed) ? fixed : samples;
  const parts = [];
  for (let at = 0; at < samples; at += step) {
    const feeds = {};
    for (const [name, { data, shape }] of Object.entries(slice(inputs, at, at + step))) {
      feeds[name] = core.tensor(data, shape, "float32");
    }
    const results = [model.execute(feeds, known.map(({ name }) => name))].flat();
    parts.push(await Promise.all(results.map(async (one) => ({ data: await one.data(), shape: one.shape }))));
    core.dispose([feeds, results]);
  }
  const arrays = known.map((_, index) => {
    const values = parts.map((part) => part[index]);
    const rows = values.reduce((sum, { shape }) => sum + shape[0], 0);
    return [index, { data: values.flatMap(({ data }) => [...data]), shape: [rows, ...values[0].shape.slice(1)] }];
  });
  await fs.writeFile(out, encode(Object.fromEntries(arrays)));
  return known.map(({ tensor, operator, scale }) => ({ tensor, operator, scale }));
}

/** All of the graph in its order, as export/graphs/stopped.py has them: nothing is loaded or run. */
export async function operators({ path }) {
  const { node: nodes } = JSON.parse(await fs.readFile(path, "utf8")).modelTopology;
  const computed = nodes.filter(({ op }) => op !== "Const");
  return computed.map(({ name, op }) => ({ name, kind: op, version: null, tensor: canonical(name) }));
}

/** As `canonical` in export/graphs/layers.py. */
const canonical = (name) => name.replace(/^(?:(?:Stateful)?PartitionedCall(?:_\d+)?\/)+/, "");
