// A tensor's two forms, and the turns between them: what records/tensor.py is for Python, number for number.
//
//     infer({ image: stored(images, tensor) })        // (N, 3, H, W) float32 → what the artifact takes
//     restored(outputs.logits, tensor)                 // and back
//
// An array is {data: typed array, shape}; a tensor is what a manifest says of it.

import { quantized } from "../preparation/prepare.mjs";

/** A checkpoint's array, channels on axis 1, in the tensor's layout and, with a scale, its integers. */
export function stored(array, tensor) {
  const axis = channels(tensor);
  return quantized(axis ? moved(array, 1, axis) : array, tensor);
}

/** An array of the tensor's layout and type as the checkpoint has it, in float32: `stored` undone. */
export function restored({ data, shape }, tensor) {
  const { scale, zero_point: zero } = tensor;
  const meant = data instanceof Float32Array || scale == null ? Number : (x) => (x - zero) * Math.fround(scale);
  const values = { data: Float32Array.from(data, meant), shape };
  const axis = channels(tensor);
  return axis ? moved(values, axis, 1) : values;
}

/** The axis of the channels, where it is another than the checkpoint's; 0: nothing is to be turned. */
function channels({ layout }) {
  const axis = (layout ?? "").indexOf("C");
  return axis > 1 ? axis : 0;
}

/** The axis `from` put at `to`, the others in their order. */
function moved({ data, shape }, from, to) {
  const order = shape.map((_, axis) => axis).filter((axis) => axis !== from);
  order.splice(to, 0, from);
  const steps = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, length) => product * length, 1));
  const turned = new data.constructor(data.length);
  const lengths = order.map((axis) => shape[axis]);
  const strides = order.map((axis) => steps[axis]);
  const place = new Array(lengths.length).fill(0);
  let source = 0;
  for (let n = 0; n < data.length; n++) {
    turned[n] = data[source];
    for (let axis = lengths.length - 1; axis >= 0; axis--) {
      source += strides[axis];
      if (++place[axis] < lengths[axis]) break;
      source -= strides[axis] * lengths[axis];
      place[axis] = 0;
    }
  }
  return { data: turned, shape: lengths };
}
