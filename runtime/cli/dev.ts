/**
 * `sluice dev`: a filter's folder and a proxy that runs it. Each save is compiled by a warm compiler and swapped in while
 * traffic flows; the last requests are sent again, and where the answers differ is shown.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync, watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { ProxyError } from "../errors.ts";
import { DEV_DEBOUNCE_MS, DEV_DRAIN_MS, DEV_REDRAW_MS } from "../limits.ts";
import { DevCompiler } from "./dev-compiler.ts";
import { devConfig, RECORDER } from "./dev-config.ts";
import { ConnectionReplays } from "./dev-connections.ts";
import { findPlace } from "./dev-place.ts";
import type { DevPlace } from "./dev-place.ts";
import { RequestReplays } from "./dev-replay.ts";
import { addLogLine, newsLines, replayLines, screenLines } from "./dev-screen.ts";
import type { DevNews, DevState, Replays } from "./dev-screen.ts";
import { excerptOf } from "./source-excerpt.ts";
import { readSnapshot, readSources } from "./validate.ts";

export interface DevOptions {
  /** Default: sluice.yaml in the filter's folder. */
  readonly configPath?: string;
  /** Threads of the proxy; default 1. */
  readonly concurrency?: number;
}

/** Lines of the proxy's log that say what stands above them on the screen. */
const SHOWN_ABOVE = /^(?:admin on |listener \S+ on |live after |plugin \S+: version \d+ \(.*\) serves )/;
/** Characters of a line where there is no terminal. */
const LINE_WIDTH = 1000;
const SLUICE = fileURLToPath(new URL("./sluice.js", import.meta.url));

/** Runs until it is interrupted; returns the exit status. Throws ProxyError for a folder or a configuration that is no good. */
export async function dev(folder: string, options: DevOptions): Promise<number> {
  const path = resolve(folder);
  const name = basename(path);
  if (!existsSync(join(path, `${name}.ts`)))
    throw new ProxyError(
      "NO_FILTER",
      "config",
      `${path} holds no filter: ${name}.ts is not there; make one with: sluice new ${name}`,
    );
  const configPath = resolve(options.configPath ?? join(path, "sluice.yaml"));
  if (!existsSync(configPath))
    throw new ProxyError("CONFIG_MISSING", "config", `${configPath} is not there; name a configuration with -c`);
  const session = new DevSession(path, name, configPath, options.concurrency ?? 1);
  return session.run();
}

class DevSession {
  readonly #folder: string;
  readonly #configPath: string;
  readonly #concurrency: number;
  readonly #state: DevState;
  readonly #compiler: DevCompiler;
  #place: DevPlace | null = null;
  /** null: nothing is sent again. */
  #replays: Replays | null = null;
  #priming: Promise<void> = Promise.resolve();
  #proxy: ChildProcess | null = null;
  #watcher: FSWatcher | null = null;
  #savedMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #busy = false;
  #again = false;
  #drawn: NodeJS.Timeout | null = null;
  #plugins: readonly string[] = [];
  #sha256 = "";
  #end: (status: number) => void = () => {};

  constructor(folder: string, name: string, configPath: string, concurrency: number) {
    this.#folder = folder;
    this.#configPath = configPath;
    this.#concurrency = concurrency;
    this.#compiler = new DevCompiler(join(folder, "build"));
    this.#state = {
      name,
      origin: "",
      admin: "",
      version: 0,
      size: 0,
      news: { kind: "starting" },
      replayed: 0,
      kept: 0,
      unit: "",
      differences: [],
      log: [],
    };
  }

  async run(): Promise<number> {
    const ended = new Promise<number>((resolve) => (this.#end = resolve));
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => this.#end(0));
    this.#draw();
    try {
      if (!(await this.#begin())) return 1;
      return await ended;
    } finally {
      this.#stop();
    }
  }

  /** The first compilation, without which there is nothing to run. */
  async #begin(): Promise<boolean> {
    this.#watcher = watch(this.#folder, { recursive: true }, (_event, file) => this.#onChange(String(file)));
    const compilation = await this.#compiler.compile(this.#folder);
    if ("mistakes" in compilation) {
      process.stderr.write(`${compilation.mistakes}\n`);
      return false;
    }
    this.#sha256 = compilation.result.sha256;
    this.#state.size = compilation.result.size;
    const options = { configPath: this.#configPath };
    const snapshot = readSnapshot(options, readSources(options));
    if (snapshot === undefined) return false;
    const built = resolve(compilation.result.path);
    const place = findPlace(snapshot, built);
    if (place === undefined)
      throw new ProxyError("NO_PLUGIN", "config", `${this.#configPath} has no plugin with the module ${built}`);
    this.#place = place;
    this.#plugins = place.plugins;
    if (!place.tls) this.#replays = place.kind === "http" ? new RequestReplays() : new ConnectionReplays();
    this.#state.unit = this.#replays?.what ?? "";
    this.#startProxy();
    return true;
  }

  #startProxy(): void {
    const config = devConfig(readFileSync(this.#configPath, "utf8"));
    const args = [
      SLUICE,
      "run",
      "--config-yaml",
      config,
      "--concurrency",
      String(this.#concurrency),
      "--log-format",
      "json",
      "--drain-time-s",
      "1",
    ];
    const proxy = spawn(process.execPath, args, { cwd: dirname(this.#configPath), stdio: ["ignore", "pipe", "pipe"] });
    this.#proxy = proxy;
    for (const stream of [proxy.stdout, proxy.stderr])
      createInterface({ input: stream }).on("line", (line) => this.#onLine(line));
    proxy.on("exit", (code) => {
      if (this.#proxy !== proxy) return;
      this.#undraw();
      process.stderr.write(`${this.#state.log.join("\n")}\nsluice: the proxy ended with ${code}\n`);
      this.#end(code === 0 ? 0 : 1);
    });
  }

  #onLine(line: string): void {
    const { message, level } = logLine(line);
    if (message.includes(` ${RECORDER} `)) {
      if (this.#replays?.take(message) === true && !this.#busy) void this.#prime();
      this.#state.kept = this.#replays?.size ?? 0;
      this.#draw();
      return;
    }
    const [, listener = "", address = ""] = /^listener (\S+) on (\S+)$/.exec(message) ?? [];
    if (address !== "" && listener === this.#place?.listener && this.#state.origin === "")
      this.#state.origin = originOf(this.#place, address);
    const admin = /^admin on (\S+)$/.exec(message)?.[1];
    if (admin !== undefined) this.#state.admin = `http://${admin}`;
    if (this.#state.origin !== "" && this.#state.admin !== "" && this.#state.version === 0) {
      this.#state.version = 1;
      if (!process.stdout.isTTY) process.stdout.write(`${this.#state.origin}   admin ${this.#state.admin}\n`);
      this.#tell({ kind: "serving" });
      if (this.#again) void this.#take();
    }
    if (SHOWN_ABOVE.test(message)) return this.#draw();
    addLogLine(this.#state, level === "" ? message : `${level.padEnd(7)} ${message}`);
    this.#draw();
  }

  #onChange(file: string): void {
    if (!/\.(?:ts|proto|json)$/.test(file) || /(?:\.pb|\.test)\.ts$|^(?:build|node_modules)[/\\]/.test(file)) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    else this.#savedMs = performance.now();
    // Editors write a file in several steps.
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#take();
    }, DEV_DEBOUNCE_MS);
  }

  /** From a save to the version that serves; a save meanwhile is taken next. */
  async #take(): Promise<void> {
    // Before the first version serves there is nothing to swap.
    if (this.#busy || this.#state.version === 0) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    try {
      do {
        this.#again = false;
        await this.#compileAndLoad(this.#savedMs);
      } while (this.#again);
    } catch (error) {
      this.#tell({
        kind: "refused",
        what: "something is wrong here",
        why: error instanceof Error ? error.message : String(error),
      });
    } finally {
      this.#busy = false;
    }
  }

  async #compileAndLoad(savedMs: number): Promise<void> {
    this.#tell({ kind: "compiling" });
    const compilation = await this.#compiler.compile(this.#folder);
    if ("mistakes" in compilation) {
      this.#tell({
        kind: "refused",
        what: "it does not compile",
        why: compilation.mistakes,
        excerpt: excerptOf(compilation.mistakes, this.#folder),
      });
      return;
    }
    const { path, sha256, size, milliseconds } = compilation.result;
    if (sha256 === this.#sha256) {
      this.#tell({ kind: "unchanged" });
      return;
    }
    // There must be something to compare with.
    await this.#prime();
    let swapMs = 0;
    for (const plugin of this.#plugins) {
      const outcome = await this.#load(plugin, path);
      if (typeof outcome === "string") {
        this.#tell({
          kind: "refused",
          what: "the proxy refuses it",
          why: outcome,
          excerpt: excerptOf(outcome, this.#folder),
        });
        return;
      }
      this.#state.version = outcome.number;
      swapMs += outcome.took_ms;
    }
    this.#sha256 = sha256;
    this.#state.size = size;
    this.#tell({ kind: "live", compileMs: milliseconds, swapMs, totalMs: performance.now() - savedMs });
    if (this.#replays !== null) {
      this.#state.differences = await this.#replays.compare(this.#state.origin);
      this.#state.replayed = this.#replays.size;
      if (this.#state.replayed > 0) this.#tellReplays();
    }
    this.#draw();
  }

  /** One after the other. */
  #prime(): Promise<void> {
    const replays = this.#replays;
    if (replays !== null) this.#priming = this.#priming.then(() => replays.prime(this.#state.origin));
    return this.#priming;
  }

  async #load(plugin: string, path: string): Promise<{ readonly number: number; readonly took_ms: number } | string> {
    const { request } = await import("undici");
    const url = `${this.#state.admin}/wasm/load?plugin=${encodeURIComponent(plugin)}&now&unwatched&file=${encodeURIComponent(path)}`;
    const { statusCode, body } = await request(url, { method: "POST" });
    const text = await body.text();
    if (statusCode === 200) return JSON.parse(text) as { number: number; took_ms: number };
    return errorText(text);
  }

  // ---- what is shown --------------------------------------------------------------------------

  #tell(news: DevNews): void {
    this.#state.news = news;
    if (news.kind === "refused") this.#state.replayed = 0;
    if (!process.stdout.isTTY && news.kind !== "compiling" && news.kind !== "starting") {
      const { headline, reasons } = newsLines(news, LINE_WIDTH);
      for (const line of [headline, ...reasons]) process.stdout.write(`${line}\n`);
    }
    this.#draw();
  }

  #tellReplays(): void {
    if (process.stdout.isTTY) return;
    for (const line of replayLines(this.#state)) process.stdout.write(`${line}\n`);
  }

  /** Many lines of log make one picture. */
  #draw(): void {
    if (!process.stdout.isTTY || this.#drawn !== null) return;
    this.#drawn = setTimeout(() => {
      this.#drawn = null;
      const { columns, rows } = process.stdout;
      const lines = screenLines(this.#state, columns, rows - 1, colors());
      process.stdout.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join("\n")}\n\u001b[J`);
    }, DEV_REDRAW_MS);
    this.#drawn.unref();
  }

  #undraw(): void {
    if (this.#drawn !== null) clearTimeout(this.#drawn);
    this.#drawn = null;
  }

  #stop(): void {
    this.#undraw();
    this.#watcher?.close();
    this.#compiler.stop();
    const proxy = this.#proxy;
    this.#proxy = null;
    proxy?.kill("SIGTERM");
    setTimeout(() => proxy?.kill("SIGKILL"), DEV_DRAIN_MS).unref();
  }
}

/** What a person would try: a URL, or an address. */
function originOf({ kind, tls }: DevPlace, address: string): string {
  const near = address.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
  return kind === "http" ? `${tls ? "https" : "http"}://${near}` : near;
}

function colors(): boolean {
  return process.env["NO_COLOR"] === undefined;
}

/** A line of the proxy's JSON log, or of anything else it prints. */
function logLine(line: string): { readonly message: string; readonly level: string } {
  try {
    const { msg, level } = JSON.parse(line) as { msg?: unknown; level?: unknown };
    if (typeof msg === "string") return { message: msg, level: typeof level === "string" ? level : "" };
  } catch {
    // Access logs and what the runtime prints are text.
  }
  return { message: line, level: "" };
}

/** The reason in an answer of the admin interface. */
function errorText(text: string): string {
  try {
    const { error, message } = JSON.parse(text) as { error?: unknown; message?: unknown };
    if (typeof message === "string") return message;
    if (typeof error === "string") return error;
  } catch {
    // Plain text says it already.
  }
  return text.trim();
}
