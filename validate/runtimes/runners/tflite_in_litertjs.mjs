// TFLite in LiteRT.js: XNNPACK as WebAssembly, in Chromium. It takes float32, int32 and uint8 inputs, no int8.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

export const TOOLCHAIN = "web";
export const NEEDS = ["chromium"];
export const BACKENDS = ["wasm"];
export const SAMPLES = 256;

const PACKAGE = "/node_modules/@litertjs/core";

const errors = []; // of the call that runs

/** Of the runtime, which does not say itself. */
export async function version() {
  const { version } = await (await fetch(`${PACKAGE}/package.json`)).json();
  return `LiteRT.js ${version} wasm`;
}

/** Load once; takes and gives arrays by the manifest's names. */
export async function activate(url, manifest, threads) {
  const boolean = [...manifest.inputs, ...manifest.outputs].find(({ dtype }) => dtype === "bool");
  if (boolean) {
    const why = `${await version()} has no booleans, and ${boolean.name} is one. Make it a float or an integer`;
    throw Object.assign(new Error(why), { name: "Refused" });
  }
  listen();
  const { liteRtWasm } = await loadLiteRt(`${PACKAGE}/wasm/`, { threads: threads > 1 });
  const load = () => loadAndCompile(url, { accelerator: "wasm", cpuOptions: { numThreads: threads } });
  const model = await checked(load);

  async function infer(inputs) {
    const feeds = {};
    for (const [name, { data, shape }] of Object.entries(inputs)) feeds[name] = new Tensor(data, shape);
    const results = await checked(() => model.run(feeds));
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

/** LiteRT prints what is wrong: to be called before it is loaded, for then it keeps the console's function. */
function listen() {
  const print = console.error;
  console.error = (...words) => {
    print(...words);
    const [, text] = /^ERROR: (.+)/.exec(words.join(" ")) ?? [];
    if (text) errors.push(text);
  };
}

/** The call's result; never after an operator that failed: LiteRT.js goes on, and gives what was in memory. */
async function checked(call) {
  errors.length = 0;
  const failed = () => errors.length && new Error(errors.join(" "));
  const result = await call().catch((error) => Promise.reject(failed() || error));
  if (errors.some((text) => /failed to (allocate|invoke|prepare)/i.test(text))) throw failed();
  return result;
}
