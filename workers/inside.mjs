// The program that runs inside a Node toolchain: what inside.py is for Python, with the same jobs and events.
//
//     node workers/inside.mjs HOME EVENTS_FD [FILE …]
//
// A job's function takes the job's arguments as one object. Packages are those in HOME/node_modules, wherever the file
// that imports them lies.

import fs from "node:fs";
import module from "node:module";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

const [home, events, ...preload] = process.argv.slice(2);

/** Bare names, like "@tensorflow/tfjs-core", are looked up as if a file in the toolchain's home imported them. */
function findPackagesIn(folder) {
  const parentURL = pathToFileURL(path.join(folder, "package.json")).href;
  const bare = /^(?!node:|file:|data:|\.|\/)/;
  if (module.registerHooks) {
    // Since Node 22.15; `register`, which it replaces, is deprecated from 26 on.
    module.registerHooks({
      resolve: (name, context, next) => next(name, bare.test(name) ? { ...context, parentURL } : context),
    });
  } else {
    const hook = `export const resolve = (name, context, next) =>
      next(name, ${bare}.test(name) ? { ...context, parentURL: ${JSON.stringify(parentURL)} } : context);`;
    module.register(`data:text/javascript,${encodeURIComponent(hook)}`);
  }
}

/** stdout and stderr of this process and its children → the end of a file. */
function redirect(log) {
  for (const stream of [1, 2]) {
    fs.closeSync(stream);
    const opened = fs.openSync(log, "a"); // POSIX: gets the lowest free number, which is the one just closed
    if (opened !== stream) throw new Error(`the log became descriptor ${opened} instead of ${stream}`);
  }
}

const GRACE_S = 5; // as in inside.py
const NEVER = Number.MAX_VALUE;

/** When this process ends, in milliseconds since 1970: shared with the thread that ends it. */
const end = new Float64Array(new SharedArrayBuffer(8)).fill(NEVER);

/**
 * Ends this process, and all that it has started, some seconds after a job's limit: whoever waits for the job may have
 * been stopped, or be gone. In a thread, for a job may keep this one busy.
 */
function watchTheEnd() {
  const code = `
    const { workerData } = require("node:worker_threads");
    setInterval(() => {
      if (Date.now() < workerData[0]) return;
      try { process.kill(-process.pid, "SIGKILL"); } finally { process.kill(process.pid, "SIGKILL"); }
    }, 500);`;
  new Worker(code, { eval: true, workerData: end }).unref();
}

const load = (file) => import(pathToFileURL(file).href);

const tell = (event) => fs.writeSync(Number(events), JSON.stringify(event) + "\n");

/** One job → its last event. */
async function run(job) {
  const started = performance.now();
  redirect(job.log);
  let fail;
  const thrownElsewhere = new Promise((_, reject) => (fail = reject)); // in a callback that nobody awaits
  process.on("uncaughtException", fail);
  end[0] = Date.now() + (job.limit_s + GRACE_S) * 1000;
  let event;
  try {
    const functions = await load(job.file);
    if (!(job.function in functions)) throw new TypeError(`${job.file} exports no ${job.function}`);
    const value = (await Promise.race([functions[job.function](job.arguments), thrownElsewhere])) ?? null;
    JSON.stringify(value);
    event = { event: "result", value };
  } catch (error) {
    console.error(error);
    event = { event: "error", kind: error?.name ?? "Error", message: String(error?.message ?? error) };
  }
  process.off("uncaughtException", fail);
  end[0] = NEVER;
  const seconds = (performance.now() - started) / 1000;
  return { ...event, id: job.id, seconds, peak_memory: process.resourceUsage().maxRSS * 1024 };
}

watchTheEnd(); // before the packages are looked up by a hook, which a thread that begins later would wait for
findPackagesIn(home);
for (const file of preload) {
  await load(file).catch(console.error); // the job that needs it will fail again, and say so
}
tell({ event: "ready" });
for await (const line of readline.createInterface({ input: process.stdin })) {
  tell(await run(JSON.parse(line)));
}
process.exit(); // whatever a job has left open
