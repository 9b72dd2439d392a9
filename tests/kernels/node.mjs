// Runs the cases in Node, on the backends that are JavaScript and WebAssembly alone.
//
//     worker.call(Path("tests/kernels/node.mjs"), "measure", {model, cases, backend, out, simd}, log, limit_s)

import fs from "node:fs/promises";
import * as core from "@tensorflow/tfjs-core";
import * as converter from "@tensorflow/tfjs-converter";
import { fromDisk } from "../../validate/runtimes/runners/tfjs_in_node.mjs";
import { run } from "./run.mjs";

/** Without `simd` on the binary of wasm for browsers that have none. */
export async function measure({ model, cases, backend, out, simd = true }) {
  await import(`@tensorflow/tfjs-backend-${backend}`);
  if (!simd) core.env().set("WASM_HAS_SIMD_SUPPORT", false);
  const listed = JSON.parse(await fs.readFile(cases, "utf8"));
  const results = await run({ ...core, ...converter }, fromDisk(model), listed, backend);
  await fs.writeFile(out, JSON.stringify(results));
}
