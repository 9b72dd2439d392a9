// Runs the cases in Node, on the backends that are JavaScript and WebAssembly alone.
//
//     worker.call(Path("tests/kernels/node.mjs"), "measure", {model, cases, backend, out}, log, limit_s)

import fs from "node:fs/promises";
import * as core from "@tensorflow/tfjs-core";
import * as converter from "@tensorflow/tfjs-converter";
import { fromDisk } from "../../validate/runners/tfjs_in_node.mjs";
import { run } from "./run.mjs";

export async function measure({ model, cases, backend, out }) {
  await import(`@tensorflow/tfjs-backend-${backend}`);
  const listed = JSON.parse(await fs.readFile(cases, "utf8"));
  const results = await run({ ...core, ...converter }, fromDisk(model), listed, backend);
  await fs.writeFile(out, JSON.stringify(results));
}
