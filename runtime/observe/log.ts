/**
 * The process log. Every thread writes whole lines to stderr itself, synchronously: a line that was
 * logged is out before anything else happens, so that a crash loses none.
 */
import { threadId } from "node:worker_threads";
import { pino } from "pino";
import * as LogLevelNumber from "../../abi/log-level.ts";
import { ProxyError } from "../errors.ts";

/** Envoy's levels; `--log-level` also takes `warn`. */
export type LogLevel = "trace" | "debug" | "info" | "warning" | "error" | "critical" | "off";
export const LOG_LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warning", "error", "critical", "off"];

const PINO_LEVELS = { trace: 10, debug: 20, info: 30, warning: 40, error: 50, critical: 60 } as const;
const LEVEL_OF_PINO = new Map<number, string>(Object.entries(PINO_LEVELS).map(([name, number]) => [number, name]));

/** Logs for one component. Fields are added to the line as `name=value` (text) or as members (JSON). */
export interface Log {
  trace(message: string, fields?: object): void;
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warning(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
  critical(message: string, fields?: object): void;
  /** Logs at a Proxy-Wasm level (abi/log-level.ts); unknown numbers count as critical. */
  guest(level: number, message: string): void;
  /** True when lines of this level (abi/log-level.ts number) are written: ask before building a costly message. */
  enabled(level: number): boolean;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Default text, in Envoy's shape: `[2026-11-22 21:00:00.000][thread][level][component] message`. */
  readonly format?: "text" | "json" | undefined;
  /** Where lines go; default stderr. */
  readonly write?: ((line: string) => void) | undefined;
  /** Default: the number of this thread, 0 for the main thread. */
  readonly thread?: number | undefined;
}

type Logger = pino.Logger<keyof typeof PINO_LEVELS>;

/** Reads a level from the command line or admin. Throws ProxyError `LOG_LEVEL_UNKNOWN`. */
export function parseLogLevel(text: string): LogLevel {
  const level = text === "warn" ? "warning" : LOG_LEVELS.find((known) => known === text);
  if (level === undefined) {
    throw new ProxyError("LOG_LEVEL_UNKNOWN", "config", `"${text}" is none of ${LOG_LEVELS.join(", ")}`);
  }
  return level;
}

/** All logs of this thread. */
export class ProcessLog {
  readonly #root: Logger;
  readonly #components = new Map<string, ComponentLog>();
  #level: LogLevel;

  constructor(options: LogOptions) {
    this.#level = options.level;
    const thread = options.thread ?? threadId;
    const write = options.write ?? writeToStderr();
    const destination = options.format === "json" ? { write } : new TextDestination(write, thread);
    const pinoOptions = {
      level: pinoLevel(options.level),
      customLevels: PINO_LEVELS,
      useOnlyCustomLevels: true as const,
      base: { thread },
      formatters: { level: (label: string) => ({ level: label }) },
    };
    this.#root = pino(pinoOptions, destination);
  }

  get level(): LogLevel {
    return this.#level;
  }

  /** The log of one component (`main`, `config`, `wasm`, …); the same object for the same name. */
  component(name: string): Log {
    let log = this.#components.get(name);
    if (log === undefined) {
      log = new ComponentLog(this.#root.child({ component: name }));
      log.setLevel(this.#level);
      this.#components.set(name, log);
    }
    return log;
  }

  /** Names and levels of the components that have logged, sorted. */
  levels(): [name: string, level: LogLevel][] {
    const names = [...this.#components.keys()].sort();
    return names.map((name) => [name, this.#components.get(name)!.level]);
  }

  /** Changes the level of everything, or of one component; false when there is no such component. */
  setLevel(level: LogLevel, component?: string): boolean {
    if (component !== undefined) {
      const log = this.#components.get(component);
      log?.setLevel(level);
      return log !== undefined;
    }
    this.#level = level;
    this.#root.level = pinoLevel(level);
    for (const log of this.#components.values()) log.setLevel(level);
    return true;
  }
}

class ComponentLog implements Log {
  readonly #pino: Logger;
  level: LogLevel = "off";
  #number = 0;

  constructor(logger: Logger) {
    this.#pino = logger;
  }

  setLevel(level: LogLevel): void {
    this.level = level;
    this.#number = LOG_LEVELS.indexOf(level);
    this.#pino.level = pinoLevel(level);
  }

  trace(message: string, fields?: object): void {
    if (this.#number <= LogLevelNumber.TRACE) this.#pino.trace(fields ?? {}, message);
  }
  debug(message: string, fields?: object): void {
    if (this.#number <= LogLevelNumber.DEBUG) this.#pino.debug(fields ?? {}, message);
  }
  info(message: string, fields?: object): void {
    if (this.#number <= LogLevelNumber.INFO) this.#pino.info(fields ?? {}, message);
  }
  warning(message: string, fields?: object): void {
    if (this.#number <= LogLevelNumber.WARN) this.#pino.warning(fields ?? {}, message);
  }
  error(message: string, fields?: object): void {
    if (this.#number <= LogLevelNumber.ERROR) this.#pino.error(fields ?? {}, message);
  }
  critical(message: string, fields?: object): void {
    if (this.#number <= LogLevelNumber.CRITICAL) this.#pino.critical(fields ?? {}, message);
  }
  guest(level: number, message: string): void {
    const method = LOG_LEVELS[level] ?? "critical";
    this[method === "off" ? "critical" : method](message);
  }
  enabled(level: number): boolean {
    return this.#number <= level;
  }
}

/** The Proxy-Wasm number of a level (what `proxy_get_log_level` answers); off is one above critical. */
export function logLevelNumber(level: LogLevel): number {
  return LOG_LEVELS.indexOf(level);
}

function pinoLevel(level: LogLevel): string {
  return level === "off" ? "silent" : level;
}

function writeToStderr(): (line: string) => void {
  const stream = pino.destination({ fd: 2, sync: true });
  return (line) => {
    stream.write(line);
  };
}

/** Turns what pino logged into a line for people; pino hands the parts over beside the JSON text. */
class TextDestination {
  lastLevel = 0;
  lastTime = "";
  lastMsg = "";
  lastObj: Record<string, unknown> = {};
  lastLogger: { bindings(): pino.Bindings } | undefined;
  readonly #write: (line: string) => void;
  readonly #thread: number;

  constructor(write: (line: string) => void, thread: number) {
    this.#write = write;
    this.#thread = thread;
    // This mark makes pino fill the `last…` fields.
    Object.assign(this, { [Symbol.for("pino.metadata")]: true });
  }

  write(): void {
    const time = new Date(Number(this.lastTime)).toISOString();
    const component = String(this.lastLogger?.bindings()["component"] ?? "main");
    let text = this.lastMsg;
    for (const [name, value] of Object.entries(this.lastObj)) text += ` ${name}=${fieldText(value)}`;
    const level = LEVEL_OF_PINO.get(this.lastLevel) ?? "critical";
    this.#write(
      `[${time.slice(0, 10)} ${time.slice(11, 23)}][${this.#thread}][${level}][${component}] ${printable(text)}\n`,
    );
  }
}

function fieldText(value: unknown): string {
  if (value instanceof Error) return value.stack ?? value.message;
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A guest or a peer may have chosen the text: it must neither forge a line nor move the cursor. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) =>
    char === "\n" ? "\n    " : char === "\t" ? char : `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
