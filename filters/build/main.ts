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
  options: { debug: { type: "boolean" }, force: { type: "boolean" }, out: { type: "string" } },
});
const options: BuildOptions = {
  target: values.debug === true ? "debug" : "release",
  force: values.force === true,
  ...(values.out === undefined ? {} : { outFolder: values.out }),
};

try {
  const folders = positionals.length === 0 && isFilterFolder(".") ? ["."] : positionals;
  if (folders.length === 0) (await buildFilters(options)).forEach(print);
  else for (const folder of folders) print(await buildFilter(folder, options));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

function print(result: BuildResult): void {
  const state = result.cached ? "current" : `built in ${result.milliseconds.toFixed(0)} ms`;
  process.stdout.write(`${result.name.padEnd(16)} ${String(result.size).padStart(7)} bytes  ${state}\n`);
}
