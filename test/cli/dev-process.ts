/** `sluice dev` as a process, on a filter that was just made; ports are free ones. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { newFilter } from "../../runtime/cli/new.ts";
import type { FilterKind } from "../../runtime/cli/new.ts";
import { freePort } from "../bench/processes.ts";

const SLUICE = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));

export class DevProcess {
  readonly #scratch: string;
  readonly #source: string;
  readonly #child: ChildProcess;
  #output = "";
  /** Where the filter's listener listens, as it was printed, and the admin interface. */
  origin = "";
  admin = "";
  /** It has ended, and all of its output is here. */
  readonly #closed: Promise<number | null>;
  #over = false;
  #changed: (() => void)[] = [];

  private constructor(scratch: string, name: string) {
    this.#scratch = scratch;
    this.#source = join(scratch, name, `${name}.ts`);
    this.#child = spawn(process.execPath, [SLUICE, "dev", join(scratch, name)], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.on("data", (piece: Buffer) => this.#heard(piece.toString()));
    this.#closed = new Promise((resolve) =>
      this.#child.on("close", (status) => {
        this.#over = true;
        resolve(status);
        this.#heard("");
      }),
    );
  }

  #heard(text: string): void {
    this.#output += text;
    for (const wake of this.#changed.splice(0)) wake();
  }

  /** Resolves once the filter is served. */
  static async start(name: string, kind: FilterKind): Promise<DevProcess> {
    const author = await DevProcess.begin(name, kind);
    [, author.origin = "", author.admin = ""] = await author.printed(/(\S+) +admin (http:\S+)\n✓ serving/);
    return author;
  }

  /** Resolves once it runs. */
  static async begin(name: string, kind: FilterKind): Promise<DevProcess> {
    const scratch = mkdtempSync(join(tmpdir(), "sluice-dev-"));
    newFilter(join(scratch, name), kind);
    const config = join(scratch, name, "sluice.yaml");
    const upstream = await freePort();
    const text = readFileSync(config, "utf8")
      .replaceAll("port_value: 10001", `port_value: ${upstream}`)
      .replaceAll(/port_value: (?:10000|9901)/g, "port_value: 0");
    writeFileSync(config, text);
    return new DevProcess(scratch, name);
  }

  /** Resolves once the first version has been compiled. */
  async compiled(): Promise<void> {
    const name = basename(this.#source, ".ts");
    while (!existsSync(join(dirname(this.#source), "build", `${name}.wasm.json`)) && !this.#over) await sleep(10);
  }

  /** Resolves once the proxy has no connection, so that each is known to whoever sends them again. */
  async idle(): Promise<void> {
    for (;;) {
      const answer = await fetch(`${this.admin}/stats?filter=^listener.*downstream_cx_active$`);
      if (/^(?:\S+: 0\n)+$/.test(await answer.text())) return;
      await sleep(10);
    }
  }

  /** Resolves once the pattern is in what was printed since `from`. */
  async printed(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.#output.slice(from));
      if (found !== null) return found;
      if (this.#over) throw new Error(`${pattern} was not printed:\n${this.#output}`);
      await new Promise<void>((resolve) => this.#changed.push(resolve));
    }
  }

  /** Saves a change of the source; answers where in the output what comes of it begins. */
  edit(from: string, to: string): number {
    const mark = this.#output.length;
    const text = readFileSync(this.#source, "utf8");
    if (!text.includes(from)) throw new Error(`${from} is not in\n${text}`);
    writeFileSync(this.#source, text.replace(from, to));
    return mark;
  }

  /** As ctrl-c does; answers the exit status. */
  async interrupt(): Promise<number | null> {
    this.#child.kill("SIGINT");
    return this.#closed;
  }

  async end(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#closed;
    rmSync(this.#scratch, { recursive: true });
  }
}
