/** The compiler in a process of its own that stays warm: the first compilation of a process takes seconds, later ones a tenth of one. */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface BuiltModule {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
  readonly milliseconds: number;
}

export type Compilation = { readonly result: BuiltModule } | { readonly mistakes: string };

export class DevCompiler {
  readonly #child: ChildProcess;
  #waiting: ((compilation: Compilation) => void) | null = null;
  #ended: string | null = null;

  /** Modules go to `out`, without optimisation and with their source maps. */
  constructor(out: string) {
    const main = fileURLToPath(new URL("../../filters/build/main.ts", import.meta.url));
    this.#child = fork(main, ["--serve", "--debug", `--out=${out}`], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child.on("message", (compilation: Compilation) => this.#answer(compilation));
    this.#child.on("exit", (code) => {
      this.#ended = `the compiler ended with ${code}`;
      this.#answer({ mistakes: this.#ended });
    });
  }

  /** One at a time. */
  compile(folder: string): Promise<Compilation> {
    if (this.#ended !== null) return Promise.resolve({ mistakes: this.#ended });
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#child.send(folder);
    });
  }

  stop(): void {
    this.#child.removeAllListeners("exit");
    this.#child.kill();
  }

  #answer(compilation: Compilation): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.(compilation);
  }
}
