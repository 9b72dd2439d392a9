// A TensorFlow.js graph model, the same in Node and in a browser.

/** Load with `tf`, the library with its converter and one backend, from `source`, an address or what reads files → infer.

 Never on another backend than was asked for. */
export async function activate(tf, source, manifest, backend) {
  const set = await tf.setBackend(backend);
  if (!set || tf.getBackend() !== backend) throw new Error(`tfjs did not start its backend ${backend}`);
  const model = await tf.loadGraphModel(source);
  const names = manifest.outputs.map((tensor) => tensor.name);
  const types = Object.fromEntries(manifest.inputs.map((tensor) => [tensor.name, tensor.dtype]));

  return async function infer(inputs) {
    const feeds = {};
    for (const [name, { data, shape }] of Object.entries(inputs)) feeds[name] = tf.tensor(data, shape, types[name]);
    const results = [model.execute(feeds, names)].flat();
    const outputs = {};
    for (const [index, result] of results.entries()) {
      outputs[names[index]] = { data: await result.data(), shape: result.shape };
    }
    tf.dispose([feeds, results]);
    if (tf.getBackend() !== backend) throw new Error(`tfjs went from its backend ${backend} to ${tf.getBackend()}`);
    return outputs;
  };
}
