/** Commands as people run them: each in a process of its own. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The command `sluice`. */
export const SLUICE: string = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));

export interface Outcome {
  /** 1 when it was ended by a signal. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program of ours; `env` changes the environment of the tests, where undefined takes a variable away. */
export function runNode(
  program: string,
  args: readonly string[],
  { cwd, env }: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, ...(cwd === undefined ? {} : { cwd }) };
    execFile(process.execPath, [program, ...args], options, (error, stdout, stderr) =>
      resolve({ status: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}

export function sluice(...args: string[]): Promise<Outcome> {
  return runNode(SLUICE, args);
}
