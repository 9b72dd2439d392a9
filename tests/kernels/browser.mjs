// Runs the cases in a real, headless Chromium, on the backends that draw, and on wasm with threads.
//
//     worker.call(Path("tests/kernels/browser.mjs"), "measure", {model, cases, backend, out}, log, limit_s)

import fs from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { GRAPHICS } from "../../validate/runtimes/chromium.mjs";

// WebGPU wants a secure origin, and localhost is; nothing listens there. What has fewer numbers than 7 is computed in
// JavaScript, as shapes have to be: WebGPU cannot be asked for the sizes of the next tensor. By default that is a thousand.
const ADDRESS = "http://localhost/?tfjsflags=WEBGPU_CPU_HANDOFF_SIZE_THRESHOLD:7";

// Both: so that wasm may share memory between threads.
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
const BINARIES = "/node_modules/@tensorflow/tfjs-backend-wasm/dist/";
const THREADED = "tfjs-backend-wasm-threaded-simd.wasm";
const THREADS = 2;

export async function measure({ model, cases, backend, out }) {
  const packages = path.dirname(path.dirname(fileURLToPath(import.meta.resolve("playwright-core/package.json"))));
  const places = {
    "/node_modules/": packages,
    "/kernels/": path.dirname(fileURLToPath(import.meta.url)),
    "/model/": path.dirname(model),
  };
  const browser = await chromium.launch({
    executablePath: process.env.ANYWHERE_CHROMIUM,
    args: ["--no-sandbox", "--disable-dev-shm-usage", ...(GRAPHICS[backend] ?? ["--disable-gpu"])],
  });
  try {
    const page = await browser.newPage();
    page.on("console", (message) => console.log(`page ${message.type()}: ${message.text()}`));
    const loaded = new Set();
    page.on("request", (request) => loaded.add(path.basename(new URL(request.url()).pathname)));
    await page.route("**/*", (route) => {
      const name = new URL(route.request().url()).pathname;
      const prefix = Object.keys(places).find((one) => name.startsWith(one));
      if (prefix) return route.fulfill({ path: path.join(places[prefix], name.slice(prefix.length)), headers: HEADERS });
      return route.fulfill({ contentType: "text/html", body: "<!doctype html>", headers: HEADERS });
    });
    await page.goto(ADDRESS);
    for (const name of ["core", "converter", `backend-${backend}`]) {
      await page.addScriptTag({ url: `/node_modules/@tensorflow/tfjs-${name}/dist/tf-${name}.min.js` });
    }
    if (backend === "wasm") await page.evaluate(threaded, { binaries: BINARIES, threads: THREADS });
    const listed = JSON.parse(await fs.readFile(cases, "utf8"));
    const results = await page.evaluate(
      async ({ shared, file, listed, backend }) => (await import(shared)).run(tf, file, listed, backend),
      { shared: "/kernels/run.mjs", file: `/model/${path.basename(model)}`, listed, backend },
    );
    if (backend === "wasm" && !loaded.has(THREADED)) throw new Error(`tfjs loaded ${[...loaded]}, not ${THREADED}`);
    await fs.writeFile(out, JSON.stringify(results));
  } finally {
    await browser.close();
  }
}

/** In the page. */
function threaded({ binaries, threads }) {
  tf.wasm.setWasmPaths(binaries);
  tf.wasm.setThreadsCount(threads);
}
