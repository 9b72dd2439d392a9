// Turns numbers by tensor.mjs, for a test to hold beside what records/tensor.py makes of them.

import { restored, stored } from "../../../validate/runtimes/tensor.mjs";

/** Arrays as lists: what the tensor stores of `data`, and what it makes of that again. */
export function turn({ data, shape, tensor }) {
  const there = stored({ data: Float32Array.from(data), shape }, tensor);
  const back = restored(there, tensor);
  return [there, back].map((one) => ({ data: [...one.data], shape: one.shape, type: one.data.constructor.name }));
}
