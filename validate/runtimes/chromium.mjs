// Runs golden inputs through an artifact in a page of a real, headless Chromium.
//
//     worker.call(Path("validate/runtimes/chromium.mjs"), "measure", {runner, path, …}, log, limit_s)
//
// The same job as in measure.mjs, whose `run` does it in the page. What the page and Chromium print goes to the log.
// Chromium's processes are in the worker's process group, so its time and memory limits hold for them, too; all but its
// crash handler, which ends by itself.

import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium as playwright } from "playwright-core";

const FLAGS = [
  "--headless",
  "--no-sandbox", // a container's root cannot have one; the only page it opens is ours
  "--disable-dev-shm-usage", // /dev/shm is small in containers
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--remote-debugging-port=0",
];
// What draws is SwiftShader everywhere, on a machine with a GPU, too: the same numbers, and no driver to crash.
export const GRAPHICS = {
  webgl: ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  webgpu: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"],
};
const TYPES = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin", // both: so that the page may share memory between threads
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cache-Control": "no-store",
};
const IMPORTS = {
  "@litertjs/core": "/node_modules/@litertjs/core/dist/index.js",
  "@litertjs/wasm-utils": "/node_modules/@litertjs/wasm-utils/dist/index.js",
  "onnxruntime-web/wasm": "/node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
};
const PART = 2 ** 24; // bytes of outputs that are sent at once
const PAGE = `<!doctype html><link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<script type="module">
  import { run } from "/validate/runtimes/measure.mjs";
  const reader = (file) => async (start, end) =>
    (await fetch(file, { headers: { Range: \`bytes=\${start}-\${end - 1}\` } })).arrayBuffer();
  const write = async (bytes) => { // in parts: of one of 90 MB Chromium dies
    for (let at = 0; at < bytes.length; at += ${PART}) {
      await fetch(\`/out/\${at}\`, { method: "POST", body: bytes.subarray(at, at + ${PART}) });
    }
  };
  const read = (job) => ({ golden: reader("/golden"), probes: job.probes && reader("/probes"),
    further: job.further.map((_, number) => reader(\`/further/\${number}\`)) });
  window.measure = (job) => run(job, read(job), write).then(
    (value) => ({ value }),
    (error) => ({ name: error?.name, message: String(error?.message ?? error), stack: String(error?.stack) }),
  );
</script>`;

/** What `measure` in measure.mjs gives, with the browser's version. */
export async function measure(job) {
  const server = await serve(job);
  const chromium = await start(GRAPHICS[job.backend] ?? ["--disable-gpu"]);
  try {
    const noLimit = { timeout: 0 }; // but the job's
    const browser = await playwright.connectOverCDP(await chromium.address, noLimit);
    const page = await browser.newPage();
    const broken = new Promise((_, reject) => {
      page.on("console", (message) => console.log(`page ${message.type()}: ${message.text()}`));
      page.on("pageerror", reject);
      page.on("crash", () => reject(new Error("the page crashed (out of memory?)")));
      browser.on("disconnected", () => reject(new Error("Chromium ended before the page answered")));
    });
    broken.catch(() => {}); // after the answer, the end of Chromium is none
    await page.goto(`http://127.0.0.1:${server.address().port}/`, noLimit);
    const there = {
      ...job,
      further: job.further ?? [],
      runner: `/validate/runtimes/runners/${encodeURIComponent(path.basename(job.runner))}`,
      path: `/artifact/${encodeURIComponent(path.basename(job.path))}`,
    };
    const said = await Promise.race([page.evaluate((one) => window.measure(one), there), broken]);
    if (!said.value) throw Object.assign(new Error(said.message), said);
    return { ...said.value, runtime_version: `${said.value.runtime_version}, Chromium ${browser.version()}` };
  } finally {
    await chromium.end();
    server.close();
  }
}

/** Serves the page and what it loads, at a free port of this machine alone. */
async function serve(job) {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const packages = path.dirname(path.dirname(fileURLToPath(import.meta.resolve("playwright-core/package.json"))));
  const places = {
    "/node_modules/": packages,
    "/validate/runtimes/runners/": path.dirname(job.runner),
    "/validate/": path.dirname(here),
    "/artifact/": path.dirname(job.path),
  };
  const server = http.createServer(async (request, response) => {
    const name = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const prefix = Object.keys(places).find((one) => name.startsWith(one));
    if (request.method === "POST" && name.startsWith("/out/")) {
      const start = Number(name.slice("/out/".length));
      await fs.promises.writeFile(job.out, request, { flag: start ? "a" : "w" });
      response.writeHead(204, HEADERS).end();
    } else if (name === "/") {
      response.writeHead(200, { ...HEADERS, "Content-Type": "text/html" }).end(PAGE);
    } else if (name === "/golden" || name === "/probes") {
      send(job[name.slice(1)], request, response);
    } else if (name.startsWith("/further/")) {
      send(job.further[Number(name.slice("/further/".length))], request, response);
    } else if (prefix) {
      send(path.join(places[prefix], name.slice(prefix.length)), request, response);
    } else {
      response.writeHead(404, HEADERS).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** A file, or the part of it that was asked for. */
function send(file, request, response) {
  const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const type = TYPES[path.extname(file)] ?? "application/octet-stream";
  const stream = fs.createReadStream(file, start ? { start: Number(start), end: Number(end) } : {});
  stream.on("open", () => {
    response.writeHead(start ? 206 : 200, { ...HEADERS, "Content-Type": type });
    stream.pipe(response);
  });
  stream.on("error", (error) => {
    console.error(`${request.url}: ${error.message}`);
    response.writeHead(404, HEADERS).end();
  });
}

/** A browser with a profile of its own: {address: where it can be controlled, end()}. */
async function start(flags) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "chromium-"));
  const program = process.env.ANYWHERE_CHROMIUM; // from validate/runtimes/programs.py
  // Not by playwright's launch, which gives it a process group of its own: it could outlive a kill of ours.
  const child = spawn(program, [...FLAGS, ...flags, `--user-data-dir=${profile}`, "about:blank"], {
    stdio: ["ignore", "inherit", "pipe"],
  });
  const ended = once(child, "close");
  const address = new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stderr }).on("line", (line) => {
      console.error(line);
      const said = /^DevTools listening on (ws:.*)$/.exec(line);
      if (said) resolve(said[1]);
    });
    ended.then(() => reject(new Error(`${program} ended before it could be controlled`)), reject);
  });
  const end = async () => {
    child.kill();
    await ended;
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { address, end };
}
