/** Runs programs as a person at a shell would, with no credentials but those that a test gives. */
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SLUICE } from "../cli/command.ts";

const NO_CREDENTIALS = join(tmpdir(), "no-such-folder-of-docker");

export interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, input = ""): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      file,
      args,
      { env: { ...process.env, NO_COLOR: "1", DOCKER_CONFIG: NO_CREDENTIALS, ...env } },
      (error, out, err) => resolve({ status: error === null ? 0 : Number(error.code ?? 1), out, err }),
    );
    // A program that reads nothing may be gone before.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

/** One command of sluice. */
export function sluice(args: readonly string[], env?: NodeJS.ProcessEnv, input?: string): Promise<Outcome> {
  return run(process.execPath, [SLUICE, ...args], env, input);
}
