/** `sluice build`: compiles filters in a process of its own, since the compiler is large. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface FilterBuildOptions {
  /** Without optimisation, with the source map inside the module. */
  readonly debug?: true;
  /** Also what has not changed. */
  readonly force?: true;
  /** Folder for the modules. */
  readonly out?: string;
}

/** Compiles the filters in `folders`, or the bundled ones. Returns the exit status of the compiler. */
export async function build(folders: readonly string[], options: FilterBuildOptions): Promise<number> {
  const main = fileURLToPath(new URL("../../filters/build/main.ts", import.meta.url));
  const args = [main, ...(options.debug ? ["--debug"] : []), ...(options.force ? ["--force"] : [])];
  if (options.out !== undefined) args.push(`--out=${options.out}`);
  const compiler = spawn(process.execPath, [...args, "--", ...folders], { stdio: "inherit" });
  const [status] = (await once(compiler, "exit")) as [number | null];
  return status ?? 1;
}
