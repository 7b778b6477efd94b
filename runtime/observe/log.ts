/**
 * The process log. Every thread writes whole lines to stderr itself, synchronously: a line that was
 * logged is out before anything else happens, so that a crash loses none. JSON lines are pino's; it is
 * loaded only for them, since every thread would pay 30 ms of start-up for it.
 */
import { writeSync } from "node:fs";
import { createRequire } from "node:module";
import { threadId } from "node:worker_threads";
import type * as Pino from "pino";
import * as LogLevelNumber from "../../abi/log-level.ts";
import { ProxyError } from "../errors.ts";
import { LOG_RETRIES, LOG_RETRY_MS } from "../limits.ts";

/** Envoy's levels; `--log-level` also takes `warn`. */
export type LogLevel = "trace" | "debug" | "info" | "warning" | "error" | "critical" | "off";
export const LOG_LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warning", "error", "critical", "off"];

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

/** Writes one line; `level` is an index of {@link LOG_LEVELS}. */
type Sink = (level: number, component: string, message: string, fields: object | undefined) => void;

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
  readonly #sink: Sink;
  readonly #components = new Map<string, ComponentLog>();
  #level: LogLevel;

  constructor(options: LogOptions) {
    this.#level = options.level;
    const thread = options.thread ?? threadId;
    const write = options.write ?? writeToStderr;
    this.#sink = options.format === "json" ? jsonSink(write, thread) : textSink(write, thread);
  }

  get level(): LogLevel {
    return this.#level;
  }

  /** The log of one component (`main`, `config`, `wasm`, …); the same object for the same name. */
  component(name: string): Log {
    let log = this.#components.get(name);
    if (log === undefined) {
      log = new ComponentLog(name, this.#level, this.#sink);
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
    for (const log of this.#components.values()) log.setLevel(level);
    return true;
  }
}

class ComponentLog implements Log {
  readonly #name: string;
  readonly #sink: Sink;
  #level: LogLevel;
  #number: number;

  constructor(name: string, level: LogLevel, sink: Sink) {
    this.#name = name;
    this.#sink = sink;
    this.#level = level;
    this.#number = logLevelNumber(level);
  }

  get level(): LogLevel {
    return this.#level;
  }
  setLevel(level: LogLevel): void {
    this.#level = level;
    this.#number = logLevelNumber(level);
  }

  trace(message: string, fields?: object): void {
    this.#write(LogLevelNumber.TRACE, message, fields);
  }
  debug(message: string, fields?: object): void {
    this.#write(LogLevelNumber.DEBUG, message, fields);
  }
  info(message: string, fields?: object): void {
    this.#write(LogLevelNumber.INFO, message, fields);
  }
  warning(message: string, fields?: object): void {
    this.#write(LogLevelNumber.WARN, message, fields);
  }
  error(message: string, fields?: object): void {
    this.#write(LogLevelNumber.ERROR, message, fields);
  }
  critical(message: string, fields?: object): void {
    this.#write(LogLevelNumber.CRITICAL, message, fields);
  }
  guest(level: number, message: string): void {
    const known = level >= LogLevelNumber.TRACE && level <= LogLevelNumber.CRITICAL;
    this.#write(known ? level : LogLevelNumber.CRITICAL, message, undefined);
  }
  enabled(level: number): boolean {
    return this.#number <= level;
  }

  #write(level: number, message: string, fields: object | undefined): void {
    if (this.#number <= level) this.#sink(level, this.#name, message, fields);
  }
}

/** The Proxy-Wasm number of a level (what `proxy_get_log_level` answers); off is one above critical. */
export function logLevelNumber(level: LogLevel): number {
  return LOG_LEVELS.indexOf(level);
}

function textSink(write: (line: string) => void, thread: number): Sink {
  return (level, component, message, fields) => {
    const time = new Date().toISOString();
    let text = message;
    if (fields !== undefined) {
      for (const [name, value] of Object.entries(fields)) text += ` ${name}=${fieldText(value)}`;
    }
    write(
      `[${time.slice(0, 10)} ${time.slice(11, 23)}][${thread}][${LOG_LEVELS[level]}][${component}] ${printable(text)}\n`,
    );
  };
}

function jsonSink(write: (line: string) => void, thread: number): Sink {
  const { pino } = createRequire(import.meta.url)("pino") as typeof Pino;
  const customLevels = { trace: 10, debug: 20, info: 30, warning: 40, error: 50, critical: 60 };
  const formatters = { level: (label: string): object => ({ level: label }) };
  const options = { level: "trace", customLevels, useOnlyCustomLevels: true as const, base: { thread }, formatters };
  const root = pino(options, { write });
  const children = new Map<string, typeof root>();
  return (level, component, message, fields = {}) => {
    let child = children.get(component);
    if (child === undefined) children.set(component, (child = root.child({ component }) as typeof root));
    child[LOG_LEVELS[level] as keyof typeof customLevels](fields, message);
  };
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** stderr may be a pipe that is full just now: waits for its reader, but not for ever. */
function writeToStderr(line: string): void {
  const bytes = Buffer.from(line, "utf8");
  let tries = 0;
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(2, bytes, done);
    } catch (error) {
      // Any other failure means that nobody reads stderr any more, and there is no one left to tell.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN" || ++tries > LOG_RETRIES) return;
      Atomics.wait(sleeper, 0, 0, LOG_RETRY_MS);
    }
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
