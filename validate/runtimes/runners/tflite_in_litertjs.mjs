// TFLite in LiteRT.js: XNNPACK as WebAssembly, in Chromium. It takes float32, int32 and uint8 inputs, no int8.

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
  const { liteRtWasm } = await loadLiteRt(`${PACKAGE}/wasm/`, { threads: threads > 1 });
  const model = await loadAndCompile(url, { accelerator: "wasm", cpuOptions: { numThreads: threads } });

  async function infer(inputs) {
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
  }
  return Object.assign(infer, { threads: Math.min(threads, liteRtWasm.getThreadCount()) }); // no more than cores
}
