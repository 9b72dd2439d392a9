// A tensor's two forms, and the turns between them: what records/tensor.py is for Python, number for number.
//
//     infer({ image: stored(images, tensor) })        // (N, 3, H, W) float32 → what the artifact takes
//     restored(outputs.logits, tensor)                 // and back
//
// An array is {data: typed array, shape}; a tensor is what a manifest says of it.

import { quantized } from "../preparation/prepare.mjs";

/** Of integers that stand for themselves, by a manifest's name of their type. */
const INTEGERS = {
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/** A checkpoint's array, channels on axis 1, in the tensor's layout and type and, with a scale, as its integers. */
export function stored(array, tensor) {
  const axis = channels(tensor);
  const turned = axis ? moved(array, 1, axis) : array;
  return tensor.scale == null && tensor.dtype in INTEGERS ? counted(turned, INTEGERS[tensor.dtype]) : quantized(turned, tensor);
}

/** Integers of another type. */
function counted({ data, shape }, Type) {
  if (data instanceof Type) return { data, shape };
  return { data: Type.from(data, Type === BigInt64Array ? (x) => BigInt(Number(x)) : Number), shape };
}

/** An array of the tensor's layout and type as the checkpoint has it: `stored` undone. Integers that stand for
 themselves stay integers; all else is float32. */
export function restored({ data, shape }, tensor) {
  const { scale, zero_point: zero } = tensor;
  const own = scale == null && tensor.dtype in INTEGERS;
  const meant = data instanceof Float32Array || scale == null ? Number : (x) => (x - zero) * Math.fround(scale);
  const values = own ? { data: data.slice(), shape } : { data: Float32Array.from(data, meant), shape };
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
