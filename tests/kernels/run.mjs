// Runs every case of a graph model on one backend of TensorFlow.js, the same in Node and in a browser.

/** With `tf`, the library with its converter and that backend, and `source`, what loads the model.

 → per case {outputs: [{dtype, shape, data}]} or {refused: why} or {crashed: why}, which reads or writes
 what is not its own, or {invalid: why}, which gives what it has not computed; data in base64. */
export async function run(tf, source, cases, backend) {
  let model = await start(tf, source, backend);
  const results = [];
  for (const one of cases) {
    results.push(await attempt(tf, model, one));
    if (results.at(-1).crashed) {
      tf.backend().dispose = () => {}; // it would crash again
      model = await start(tf, source, backend);
    }
  }
  return results;
}

/** The model in a fresh instance of the backend. */
async function start(tf, source, backend) {
  const factory = tf.findBackendFactory(backend);
  tf.removeBackend(backend);
  tf.registerBackend(backend, factory);
  const set = await tf.setBackend(backend);
  if (!set || tf.getBackend() !== backend) throw new Error(`tfjs did not start its backend ${backend}`);
  // Small tensors would be computed in JavaScript, as long as they have not been on the GPU: no shader would be seen.
  if (backend === "webgl") tf.env().set("WEBGL_CPU_FORWARD", false); // of WebGPU see browser.mjs
  return tf.loadGraphModel(source);
}

async function attempt(tf, model, { feeds, fetches }) {
  // A shader of WebGPU's that does not compile throws nothing, and its output is what was in the memory before.
  const device = tf.getBackend() === "webgpu" ? tf.backend().device : undefined;
  device?.pushErrorScope("validation");
  const result = await computed(tf, model, feeds, fetches);
  const invalid = result.crashed ? undefined : await device?.popErrorScope();
  return result.outputs && invalid ? { invalid: invalid.message.split("\n")[0] } : result;
}

async function computed(tf, model, feeds, fetches) {
  try {
    const tensors = {};
    for (const [name, array] of Object.entries(feeds)) tensors[name] = tf.tensor(decode(array), array.shape, array.dtype);
    const found = [model.execute(tensors, fetches)].flat();
    const outputs = [];
    for (const one of found) {
      outputs.push({ dtype: one.dtype, shape: one.shape, data: encode(TYPES[one.dtype].from(await one.data())) });
    }
    tf.dispose([tensors, found]);
    return { outputs };
  } catch (error) {
    if (tf.backend().commandEncoder) {
      tf.backend().endComputePassEncoder(); // WebGPU's: what waits must not go with the next case
      tf.backend().submitQueue();
    }
    const lost = error instanceof WebAssembly.RuntimeError || error instanceof DOMException; // the memory or the device
    return { [lost ? "crashed" : "refused"]: String(error?.message ?? error).split("\n")[0] };
  }
}

const TYPES = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

function decode({ dtype, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new TYPES[dtype](bytes.buffer);
}

function encode(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
