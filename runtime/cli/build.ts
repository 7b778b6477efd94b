/** `sluice build`: compiles the bundled filters in a process of its own, since the compiler is large. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** Returns the exit status of the compiler. */
export async function build(): Promise<number> {
  const main = fileURLToPath(new URL("../../filters/build/main.ts", import.meta.url));
  const compiler = spawn(process.execPath, [main], { stdio: "inherit" });
  const [status] = (await once(compiler, "exit")) as [number | null];
  return status ?? 1;
}
