/** `sluice run`: configuration, server, signals, and the way out. */
import { availableParallelism } from "node:os";
import type { Source } from "../config/problem.ts";
import type { RestartPlace } from "../control/hand-over-protocol.ts";
import { Server } from "../control/server.ts";
import { ProxyError } from "../errors.ts";
import { PARENT_SHUTDOWN_MS } from "../limits.ts";
import { ProcessLog } from "../observe/log.ts";
import type { LogLevel } from "../observe/log.ts";
import { tellReady } from "./service-manager.ts";
import { handleSignals } from "./signals.ts";
import type { ConfigOptions } from "./validate.ts";
import { versionText } from "./version.ts";

export interface RunOptions extends ConfigOptions {
  readonly mode: "serve" | "validate";
  readonly concurrency?: number;
  readonly logLevel: LogLevel;
  readonly componentLogLevel?: readonly (readonly [name: string, level: LogLevel])[];
  readonly logFormat: "text" | "json";
  readonly adminAddressPath?: string;
  readonly drainTimeS: number;
  readonly drainStrategy?: "gradual" | "immediate";
  readonly restartEpoch?: number;
  readonly baseId?: number;
  readonly parentShutdownTimeS?: number;
  readonly restartTrialS?: number;
  readonly disableHotRestart?: boolean;
  /** The configuration's file and the modules that it names. */
  readonly watch?: boolean;
}

/** What a caller of {@link run} other than the command `run` brings. */
export interface RunExtras {
  /** Instead of what the options name. */
  readonly sources?: readonly Source[];
  /** Called once everything is bound. */
  readonly onLive?: (server: Server) => void;
  /** Asks for the end when it settles. */
  readonly until?: Promise<string>;
}

/** Serves until it is told to end; returns the exit status. Throws ProxyError when the configuration cannot be read. */
export async function run(options: RunOptions, { sources, onLive, until }: RunExtras = {}): Promise<number> {
  const concurrency = options.concurrency ?? availableParallelism();
  const processLog = new ProcessLog({ level: options.logLevel, format: options.logFormat });
  const log = processLog.component("main");
  for (const [name, level] of options.componentLogLevel ?? []) {
    // A level can only be set once the component is there.
    processLog.component(name);
    processLog.setLevel(level, name);
  }
  // First of all, so that its threads load their code while the configuration is read.
  const server = new Server({
    concurrency,
    drainTimeMs: options.drainTimeS * 1000,
    drainStrategy: options.drainStrategy ?? "gradual",
    restart: restartPlace(options),
    version: versionText(),
    processLog,
    logFormat: options.logFormat,
    componentLogLevels: options.componentLogLevel ?? [],
    adminAddressPath: options.adminAddressPath,
    commandLine: commandLine(options, concurrency),
  });
  let end: (why: string) => void = () => {};
  const ended = new Promise<string>((resolve) => (end = resolve));
  handleSignals({
    onEnd: (signal) => end(signal),
    onEndNow: (signal) => {
      log.warning(`${signal} again: ending at once`);
      process.exit(1);
    },
    onReopenLogs: () => void server.reopenLogs(),
    onReload: () => void server.reload("SIGHUP"),
  });
  void server.endRequested.then(end);
  void until?.then(end);
  try {
    // Loaded after the threads are spawned: it takes about as long as they need to load theirs.
    const { configurationOptions, readSnapshot, readSources } = await import("./validate.ts");
    const given = sources ?? readSources(options);
    const snapshot = readSnapshot(options, given);
    if (snapshot === undefined) {
      await server.stop();
      return 1;
    }
    const started = server.start(snapshot, {
      sources: given,
      reread: () => sources ?? readSources(options),
      options: configurationOptions(options),
    });
    // Code that comes from the network may keep it waiting.
    const early = await Promise.race([started.then(() => undefined), ended]);
    if (early !== undefined) {
      log.info(`${early} before the start was over: ending at once`);
      started.catch((error: unknown) => log.debug(`the start ended: ${String(error)}`));
      await server.giveUp();
      return 0;
    }
    if (options.watch === true) await server.watch(options.configPath);
  } catch (error) {
    const known = error instanceof ProxyError;
    if (known) log.critical(`cannot start: ${error.message}`);
    await server.giveUp();
    if (known) return 1;
    throw error;
  }
  onLive?.(server);
  tellReady(log);
  const why = await ended;
  await server.drain(why);
  await server.stop();
  log.info("exiting");
  return 0;
}

/** Undefined: nobody takes over from this process, and it does not from another one. */
function restartPlace({
  baseId,
  restartEpoch,
  parentShutdownTimeS,
  restartTrialS,
  disableHotRestart,
}: RunOptions): RestartPlace | undefined {
  if (disableHotRestart === true || (baseId === undefined && restartEpoch === undefined)) return undefined;
  const parentShutdownMs = parentShutdownTimeS === undefined ? PARENT_SHUTDOWN_MS : parentShutdownTimeS * 1000;
  const trialMs = (restartTrialS ?? 0) * 1000;
  return { baseId: baseId ?? 0, epoch: restartEpoch ?? 0, parentShutdownMs, trialMs };
}

/** admin.v3.CommandLineOptions, as far as there is something to say. */
function commandLine(options: RunOptions, concurrency: number): Record<string, unknown> {
  return {
    concurrency,
    config_path: options.configPath ?? "",
    // Its secrets must not be shown; what it comes to is in /config_dump, without them.
    config_yaml: options.configYaml === undefined ? "" : "[redacted]",
    log_level: options.logLevel,
    component_log_level: (options.componentLogLevel ?? []).map(([name, level]) => `${name}:${level}`).join(","),
    log_format: options.logFormat,
    admin_address_path: options.adminAddressPath ?? "",
    service_cluster: options.serviceCluster ?? "",
    service_node: options.serviceNode ?? "",
    service_zone: options.serviceZone ?? "",
    base_id: options.baseId ?? 0,
    restart_epoch: options.restartEpoch ?? 0,
    drain_time: `${options.drainTimeS}s`,
    drain_strategy: options.drainStrategy === "immediate" ? "Immediate" : "Gradual",
    parent_shutdown_time: `${options.parentShutdownTimeS ?? PARENT_SHUTDOWN_MS / 1000}s`,
    disable_hot_restart: restartPlace(options) === undefined,
    mode: options.mode === "serve" ? "Serve" : "Validate",
  };
}
