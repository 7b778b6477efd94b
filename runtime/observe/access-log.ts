/** Access logs: one record per stream, filtered, rendered by its format, appended to its file. */
import type { AccessLogConfig, Snapshot, TextAccessLog } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { compileFilter, type StreamTest } from "./access-log-filter.ts";
import { compileFormat, compileJsonFormat, DEFAULT_FORMAT, type Format } from "./format.ts";
import { acquireLogFile, type LogFile, type LogTarget } from "./log-file.ts";
import type { Stats } from "./stats.ts";
import type { StreamInfo } from "./stream-info.ts";

interface Logger {
  readonly test: StreamTest | undefined;
  readonly format: Format;
  /** JSON records end their line themselves; text formats bring their own line break, as in Envoy. */
  readonly suffix: string;
  readonly file: LogFile;
}

/** An access logger that writes no text: a plugin. */
export interface StreamLogger {
  log(info: StreamInfo): void;
}
interface FilteredLogger {
  readonly test: StreamTest | undefined;
  readonly logger: StreamLogger;
}

/** The access logs of one connection manager or listener in this thread. */
export class AccessLog {
  readonly #loggers: readonly Logger[];
  readonly #plugins: readonly FilteredLogger[];

  /**
   * `plugin` makes the logger of a plugin. Throws the error of `open(2)` when a file cannot be opened, ProxyError
   * `FORMAT_INVALID` for a bad format.
   */
  constructor(
    configs: readonly AccessLogConfig[],
    stats: Stats,
    runtime: Snapshot["runtime"] = {},
    plugin: (index: number) => StreamLogger = noPlugins,
  ) {
    const loggers: Logger[] = [];
    const plugins: FilteredLogger[] = [];
    this.#loggers = loggers;
    this.#plugins = plugins;
    try {
      for (const config of configs) {
        if ("plugin" in config) plugins.push({ test: testOf(config, runtime), logger: plugin(config.plugin) });
        else loggers.push(compileLogger(config, stats, runtime));
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Records a stream that is complete. */
  log(info: StreamInfo): void {
    for (const { test, format, suffix, file } of this.#loggers) {
      if (test === undefined || test(info)) file.append(format(info) + suffix);
    }
    for (const { test, logger } of this.#plugins) if (test === undefined || test(info)) logger.log(info);
  }

  /** Starts writing everything that is buffered. */
  flush(): void {
    for (const { file } of this.#loggers) file.flush();
  }

  /** Opens the files anew, after a rotation. */
  reopen(): void {
    for (const { file } of this.#loggers) file.reopen();
  }

  /** Writes everything and closes files that nobody else uses. `log` must not be called any more. */
  close(): void {
    for (const { file } of this.#loggers) file.release();
  }
}

function noPlugins(): never {
  throw new ProxyError("ACCESS_LOG", "internal", "an access log of a plugin where there are no plugins");
}

function testOf({ filter }: AccessLogConfig, runtime: Snapshot["runtime"]): StreamTest | undefined {
  return filter === undefined ? undefined : compileFilter(filter, runtime);
}

function compileLogger(config: TextAccessLog, stats: Stats, runtime: Snapshot["runtime"]): Logger {
  const { format, sink } = config;
  const options = { omitEmptyValues: format.omitEmptyValues };
  const render =
    format.kind === "json"
      ? compileJsonFormat(format.json, options)
      : compileFormat(format.text === "" ? DEFAULT_FORMAT : format.text, options);
  const target: LogTarget = sink.kind === "file" ? sink.path : sink.kind === "stdout" ? 1 : 2;
  return {
    test: testOf(config, runtime),
    format: render,
    suffix: format.kind === "json" ? "\n" : "",
    file: acquireLogFile(target, stats),
  };
}

/** Where finished streams and connections are told. */
export type StreamLog = Pick<AccessLog, "log" | "close">;
