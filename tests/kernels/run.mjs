// Runs every case of a graph model on one backend of TensorFlow.js, the same in Node and in a browser.

/** With `tf`, the library with its converter and that backend, and `source`, what loads the model.

 → per case {outputs: [{dtype, shape, data}]} or {refused: why}; data in base64. */
export async function run(tf, source, cases, backend) {
  let model = await start(tf, source, backend);
  const results = [];
  for (const one of cases) {
    const { crashed, ...result } = await attempt(tf, model, one);
    results.push(result);
    if (crashed) {
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
  if (backend.startsWith("webg")) tf.env().set(`${backend.toUpperCase()}_CPU_FORWARD`, false);
  return tf.loadGraphModel(source);
}

async function attempt(tf, model, { feeds, fetches }) {
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
    const refused = String(error?.message ?? error).split("\n")[0];
    return { refused, crashed: error instanceof WebAssembly.RuntimeError }; // whose memory is no longer to be trusted
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
