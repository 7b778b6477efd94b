/** `sluice validate`, and reading the configuration for `sluice run`. */
import { loadBootstrap } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import type { Snapshot } from "../config/snapshot.ts";
import { EXTENSIONS } from "../extensions.ts";

/** Where the configuration comes from, as on the command line. */
export interface ConfigOptions {
  readonly configPath?: string;
  readonly configYaml?: string;
  readonly serviceCluster?: string;
  readonly serviceNode?: string;
  readonly serviceZone?: string;
}

/** Prints every problem; returns the exit status. */
export async function validate(options: ConfigOptions): Promise<number> {
  if ((await readSnapshot(options)) === undefined) return 1;
  console.log(`configuration '${options.configPath ?? "--config-yaml"}' OK`);
  return 0;
}

/** The snapshot, or undefined after all problems have been printed to stderr; warnings are printed anyway. */
export async function readSnapshot(options: ConfigOptions): Promise<Snapshot | undefined> {
  if (options.configPath === undefined && options.configYaml === undefined) {
    console.error("sluice: no configuration: give -c FILE or --config-yaml TEXT");
    return undefined;
  }
  const { snapshot, errors, warnings } = await loadBootstrap(options, EXTENSIONS);
  for (const problem of [...errors, ...warnings]) console.error(formatProblem(problem));
  if (errors.length > 0) {
    const count = errors.length === 1 ? "1 error" : `${errors.length} errors`;
    console.error(`error initializing configuration '${options.configPath ?? "--config-yaml"}': ${count}`);
    return undefined;
  }
  return snapshot;
}
