// A tensor's two forms, and the turns between them: what records/tensor.py is for Python, number for number.
//
//     infer({ image: stored(images, tensor) })        // (N, 3, H, W) float32 → what the artifact takes
//     restored(outputs.logits, tensor)                 // and back
//
// An array is {data: typed array, shape}; a tensor is what a manifest says of it.

import { quantized } from "../preparation/prepare.mjs";
import { size } from "./safetensors.mjs";

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
  const own = tensor.scale == null && tensor.dtype in INTEGERS;
  const values = { data: own || data instanceof Float32Array ? data.slice() : floats(data, tensor), shape };
  const axis = channels(tensor);
  return axis ? moved(values, axis, 1) : values;
}

/** What integers or halves stand for. In loops: `Float32Array.from` with a function takes ten times as long. */
function floats(data, { scale, zero_point: zero }) {
  const values = new Float32Array(data.length);
  if (scale == null) for (let n = 0; n < data.length; n++) values[n] = Number(data[n]);
  else for (let n = 0; n < data.length; n++) values[n] = (data[n] - zero) * Math.fround(scale);
  return values;
}

/** The axis of the channels, where it is another than the checkpoint's; 0: nothing is to be turned. */
function channels({ layout }) {
  const axis = (layout ?? "").indexOf("C");
  return axis > 1 ? axis : 0;
}

/** The axis `from` put at `to`, the others in their order: two groups of axes change places. */
function moved({ data, shape }, from, to) {
  const lengths = [...shape];
  lengths.splice(to, 0, ...lengths.splice(from, 1));
  const bounds = from < to ? [0, from, from + 1, to + 1] : [0, to, from, from + 1];
  const [outer, first, second, inner] = bounds.map((start, group) => size(shape.slice(start, bounds[group + 1])));
  const turned = new data.constructor(data.length);
  let n = 0;
  for (let before = 0; before < outer; before++) {
    for (let column = 0; column < second; column++) {
      for (let row = 0; row < first; row++) {
        const start = ((before * first + row) * second + column) * inner;
        for (let at = start; at < start + inner; at++) turned[n++] = data[at];
      }
    }
  }
  return { data: turned, shape: lengths };
}
