/** `node filters/build/main.ts [--debug] [--force] [--out FOLDER] [FOLDER …]`: builds those in the folders named, else the one in this folder, else the repository's. */
import { enableCompileCache } from "node:module";
import { parseArgs } from "node:util";
import type { BuildOptions, BuildResult } from "./build.ts";

// Before anything else is loaded: half of a run that finds nothing to do is compiling this program.
enableCompileCache();
const { buildFilter, buildFilters } = await import("./build.ts");
const { isFilterFolder } = await import("./source.ts");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    debug: { type: "boolean" },
    force: { type: "boolean" },
    out: { type: "string" },
    serve: { type: "boolean" },
  },
});
const options: BuildOptions = {
  target: values.debug === true ? "debug" : "release",
  force: values.force === true,
  ...(values.out === undefined ? {} : { outFolder: values.out }),
};

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

if (values.serve === true) serve();
else await buildOnce();

/** For a parent that keeps the compiler warm: answers each message, a folder, with the result or the mistakes. */
function serve(): void {
  let last: Promise<void> = Promise.resolve();
  let warm = false;
  const answer = async (folder: string): Promise<void> => {
    try {
      const result = await buildFilter(folder, options);
      process.send!({ result });
      // What was current already has compiled nothing: the first save should not pay for the first compilation.
      if (result.cached && !warm) await buildFilter(folder, { ...options, force: true });
      warm = true;
    } catch (error) {
      process.send!({ mistakes: error instanceof Error ? error.message : String(error) });
    }
  };
  process.on("message", (folder: string) => void (last = last.then(() => answer(folder))));
  process.on("disconnect", () => process.exit(0));
}

async function buildOnce(): Promise<void> {
  try {
    const folders = positionals.length === 0 && isFilterFolder(".") ? ["."] : positionals;
    if (folders.length === 0) (await buildFilters(options)).forEach(print);
    else for (const folder of folders) print(await buildFilter(folder, options));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

function print(result: BuildResult): void {
  const state = result.cached ? "current" : `built in ${result.milliseconds.toFixed(0)} ms`;
  process.stdout.write(`${result.name.padEnd(16)} ${String(result.size).padStart(7)} bytes  ${state}\n`);
}
