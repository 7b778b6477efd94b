/** `sluice validate`, and reading the configuration for `sluice run`. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import colors from "picocolors";
import { loadBootstrap } from "../config/load.ts";
import type { LoadOptions } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import type { Source } from "../config/problem.ts";
import type { Snapshot } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { BUNDLED_FILTERS } from "../extensions.ts";

/** Where the configuration comes from, as on the command line. */
export interface ConfigOptions {
  readonly configPath?: string;
  readonly configYaml?: string;
  readonly serviceCluster?: string;
  readonly serviceNode?: string;
  readonly serviceZone?: string;
}

/** Prints every problem; returns the exit status. */
export function validate(options: ConfigOptions): number {
  if (readSnapshot(options, readSources(options)) === undefined) return 1;
  console.log(`configuration '${configName(options)}' OK`);
  return 0;
}

/** The file, then the text of `--config-yaml`. Throws ProxyError CONFIG_MISSING or CONFIG_UNREADABLE. */
export function readSources({ configPath, configYaml }: ConfigOptions): Source[] {
  const sources: Source[] = [];
  if (configPath !== undefined) {
    const path = resolve(configPath);
    sources.push({ name: configPath, text: readText(configPath), base: dirname(path) });
  }
  if (configYaml !== undefined) sources.push({ name: "--config-yaml", text: configYaml, base: process.cwd() });
  if (sources.length === 0) throw new ProxyError("CONFIG_MISSING", "config", "give -c FILE or --config-yaml TEXT");
  return sources;
}

/** The snapshot, or undefined after all problems have been printed to stderr; warnings are printed anyway. */
export function readSnapshot(options: ConfigOptions, sources: readonly Source[]): Snapshot | undefined {
  const { snapshot, errors, warnings } = loadBootstrap(sources, configurationOptions(options));
  const { red, yellow } = colors.createColors(process.stderr.isTTY && colors.isColorSupported);
  for (const problem of [...errors, ...warnings]) {
    const text = formatProblem(problem);
    const word = `${problem.severity}:`;
    process.stderr.write(`${text.replace(word, problem.severity === "error" ? red(word) : yellow(word))}\n`);
  }
  if (errors.length === 0) return snapshot;
  const count = errors.length === 1 ? "1 error" : `${errors.length} errors`;
  process.stderr.write(`error initializing configuration '${configName(options)}': ${count}\n`);
  return undefined;
}

/** What of the command line belongs to the configuration. */
export function configurationOptions({ serviceCluster, serviceNode, serviceZone }: ConfigOptions): LoadOptions {
  return {
    serviceCluster,
    serviceNode,
    serviceZone,
    bundledFilters: BUNDLED_FILTERS,
  };
}

function configName({ configPath }: ConfigOptions): string {
  return configPath ?? "--config-yaml";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ProxyError("CONFIG_UNREADABLE", "config", `cannot read the configuration: ${why}`, error);
  }
}
