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

const load = (file) => import(pathToFileURL(file).href);

const tell = (event) => fs.writeSync(Number(events), JSON.stringify(event) + "\n");

/** One job → its last event. */
async function run(job) {
  const started = performance.now();
  redirect(job.log);
  let fail;
  const thrownElsewhere = new Promise((_, reject) => (fail = reject)); // in a callback that nobody awaits
  process.on("uncaughtException", fail);
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
  const seconds = (performance.now() - started) / 1000;
  return { ...event, id: job.id, seconds, peak_memory: process.resourceUsage().maxRSS * 1024 };
}

findPackagesIn(home);
for (const file of preload) {
  await load(file).catch(console.error); // the job that needs it will fail again, and say so
}
tell({ event: "ready" });
for await (const line of readline.createInterface({ input: process.stdin })) {
  tell(await run(JSON.parse(line)));
}
process.exit(); // whatever a job has left open
