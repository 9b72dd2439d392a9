// ONNX in ONNX Runtime Web: its WebAssembly build in Chromium, with threads.

import * as ort from "onnxruntime-web/wasm";

export const TOOLCHAIN = "web";
export const NEEDS = ["chromium"];
export const BACKENDS = ["wasm"];
export const SAMPLES = 256;

/** Of the runtime. */
export const version = () => `onnxruntime-web ${ort.env.versions.web} wasm`;

/** A model of 2 GiB has its weights in a file beside it, for which WebAssembly has no room. */
function explain(error) {
  const beside = String(error?.message).includes("external data");
  throw beside ? Object.assign(new Error(`${version()} has no room for weights in a file beside it`), { name: "Refused" }) : error;
}

/** Load once; takes and gives arrays by the manifest's names. */
export async function activate(url, manifest, threads) {
  ort.env.wasm.numThreads = threads;
  const types = Object.fromEntries(manifest.inputs.map((tensor) => [tensor.name, tensor.dtype]));
  const session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"] }).catch(explain);

  async function infer(inputs) {
    const feeds = {};
    for (const [name, { data, shape }] of Object.entries(inputs)) feeds[name] = new ort.Tensor(types[name], data, shape);
    const results = await session.run(feeds);
    const arrays = Object.entries(results).map(([name, { data, dims }]) => [name, { data, shape: [...dims] }]);
    return Object.fromEntries(arrays);
  }
  return Object.assign(infer, { threads: ort.env.wasm.numThreads }); // 1 where the page may not share memory
}
