// A TensorFlow.js graph model in Node, on the backends that are JavaScript and WebAssembly alone.

import fs from "node:fs/promises";
import path from "node:path";
import * as core from "@tensorflow/tfjs-core";
import * as converter from "@tensorflow/tfjs-converter";
import * as shared from "../tfjs.mjs";

export const TOOLCHAIN = "web";
export const BACKENDS = ["wasm", "cpu"];
export const SAMPLES = {"wasm": 256, "cpu": 16};
// For the cpu backend, which takes seconds for a detector's picture of 320×320.
export const LIMIT_S = 600;

let running;

/** Of the runtime. */
export const version = () => `tfjs ${core.version_core} ${running}, Node ${process.versions.node}`;

/** Load once; takes and gives arrays by the manifest's names. One thread: tfjs has no more in Node. */
export async function activate(file, manifest, threads, backend) {
  await import(`@tensorflow/tfjs-backend-${backend}`);
  running = backend;
  const infer = await shared.activate({ ...core, ...converter }, fromDisk(file), manifest, backend);
  return Object.assign(infer, { threads: 1 });
}

/** What tfjs' loader for addresses does, for files. */
export function fromDisk(file) {
  const weights = async (groups) => {
    const shards = groups.flatMap((group) => group.paths).map((name) => path.join(path.dirname(file), name));
    const { buffer } = new Uint8Array(Buffer.concat(await Promise.all(shards.map((shard) => fs.readFile(shard)))));
    return [groups.flatMap((group) => group.weights), buffer];
  };
  const load = async () => core.io.getModelArtifactsForJSON(JSON.parse(await fs.readFile(file, "utf8")), weights);
  return { load };
}
