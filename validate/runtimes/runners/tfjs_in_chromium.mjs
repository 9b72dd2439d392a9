// A TensorFlow.js graph model in Chromium: WebAssembly with threads, WebGL and WebGPU.

import * as shared from "../tfjs.mjs";

export const TOOLCHAIN = "web";
export const NEEDS = ["chromium"];
export const BACKENDS = ["wasm", "webgl", "webgpu"];
export const SAMPLES = {"wasm": 256, "webgl": 8, "webgpu": 4};
export const ONE_SHAPE = ["webgl", "webgpu"];
export const LIMIT_S = 600;
export const BATCH = 1; // each shape of input has shaders of its own, and SwiftShader takes 16 to 35 s to compile them

const PACKAGES = "/node_modules/@tensorflow";

let running;

/** Of the runtime; for the graphics backends with what really drew. */
export const version = () => `tfjs ${tf.version_core} ${running}`;

/** Load once; takes and gives arrays by the manifest's names. */
export async function activate(url, manifest, threads, backend) {
  for (const name of ["core", "converter", `backend-${backend}`]) await script(`tfjs-${name}/dist/tf-${name}.min.js`);
  if (backend === "wasm") {
    tf.wasm.setWasmPaths(`${PACKAGES}/tfjs-backend-wasm/dist/`);
    tf.wasm.setThreadsCount(threads);
  }
  const infer = await shared.activate(tf, url, manifest, backend);
  running = [backend, ...(await adapter(backend))].join(", ");
  // Whatever was asked for, 4.22 says 1: https://github.com/tensorflow/tfjs/issues/8513
  return Object.assign(infer, { threads: backend === "wasm" ? tf.wasm.getThreadsCount() : threads });
}

/** tfjs in one file each, as pages use it: its module builds import packages that browsers cannot load. */
function script(name) {
  const element = Object.assign(document.createElement("script"), { src: `${PACKAGES}/${name}` });
  return new Promise((resolve, reject) => {
    Object.assign(element, { onload: resolve, onerror: () => reject(new Error(`${element.src} cannot be loaded`)) });
    document.head.append(element);
  });
}

/** The name of what computes, a GPU or a program that stands in for one. */
async function adapter(backend) {
  if (backend === "webgl") {
    const { gl } = tf.backend().gpgpu;
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    return [gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER)];
  }
  if (backend === "webgpu") {
    const { vendor, architecture, description, device } = tf.backend().adapterInfo;
    return [[vendor, architecture, device, description].filter(Boolean).join(" ")];
  }
  return [];
}
