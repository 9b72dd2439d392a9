// TFLite in LiteRT.js: XNNPACK as WebAssembly, in Chromium.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

export const TOOLCHAIN = "web";
export const NEEDS = ["chromium"];
export const BACKENDS = ["wasm"];
export const SAMPLES = 256;

const PACKAGE = "/node_modules/@litertjs/core";

/** Of the runtime, which does not say itself. */
export async function version() {
  const { version } = await (await fetch(`${PACKAGE}/package.json`)).json();
  return `LiteRT.js ${version} wasm`;
}

/** Load once; takes and gives arrays by the manifest's names. */
export async function activate(url, manifest, threads) {
  await loadLiteRt(`${PACKAGE}/wasm/`, { threads: threads > 1 });
  const model = await loadAndCompile(url, { accelerator: "wasm", cpuOptions: { numThreads: threads } });

  return async function infer(inputs) {
    const feeds = {};
    for (const [name, { data, shape }] of Object.entries(inputs)) feeds[name] = new Tensor(data, shape);
    const results = await model.run(feeds);
    const outputs = {};
    for (const { name } of manifest.outputs) {
      const result = results[name];
      outputs[name] = { data: (await result.data()).slice(), shape: [...result.type.layout.dimensions] };
    }
    for (const tensor of [...Object.values(feeds), ...Object.values(results)]) tensor.delete();
    return outputs;
  };
}
