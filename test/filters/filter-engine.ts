/**
 * Bundled filters as they run: built modules in the real Wasm host, in the HTTP engine over real sockets. One
 * thread, no configuration text: configurations are messages, encoded here.
 */
import { fileURLToPath } from "node:url";
import { readFileSync } from "node:fs";
import { buildFilter } from "../../filters/build/build.ts";
import { loadProtos, protoFolders } from "../../filters/build/proto.ts";
import type { PluginConfig, RouteConfigEntry, RuntimeValue } from "../../runtime/config/snapshot.ts";
import type { RateLimitConfig } from "../../runtime/config/rate-limit-snapshot.ts";
import type { Upstreams } from "../../runtime/upstream/request.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { Engine, type EngineOptions } from "../http/engine.ts";
import { environmentFor, pluginConfig, RecordingLog, RecordingStats } from "../wasm/stage.ts";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

export interface FilterUse {
  /** Folder below filters/, or a path from the repository. */
  readonly filter: string;
  /** Serialized configuration. */
  readonly configuration: Uint8Array;
  readonly more?: Partial<PluginConfig>;
}

export interface FilterEngineOptions extends EngineOptions {
  readonly upstreams?: Upstreams;
  readonly runtime?: Readonly<Record<string, RuntimeValue>>;
  readonly shared?: SharedStore;
}

export interface FilterEngine {
  readonly engine: Engine;
  readonly shared: SharedStore;
  /** What guests and their host logged. */
  readonly log: RecordingLog;
  /** Value of a counter or gauge that a filter defined. */
  metric(kind: number, name: string): number;
  close(): void;
}

/** Starts an engine whose connection manager runs these filters in order. */
export async function startFilters(uses: readonly FilterUse[], options: FilterEngineOptions): Promise<FilterEngine> {
  const shared = options.shared ?? SharedStore.create();
  const log = new RecordingLog();
  const environment = environmentFor(
    {
      shared,
      ...(options.upstreams === undefined ? {} : { upstreams: options.upstreams }),
      ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    },
    log,
    new RecordingStats(),
  );
  const configs: PluginConfig[] = [];
  const modules = [];
  for (const use of uses) {
    const folder = use.filter.includes("/") ? use.filter : `filters/${use.filter}`;
    const { path } = await buildFilter(
      REPOSITORY + folder,
      folder === use.filter ? { outFolder: `${REPOSITORY}build/samples` } : {},
    );
    modules.push(loadModule(readFileSync(path), use.filter));
    const filterName = `envoy.filters.http.${use.filter}`;
    const config = {
      name: filterName,
      filterName,
      bundled: true,
      configuration: use.configuration,
      vmConfiguration: new Uint8Array(),
      ...use.more,
    };
    configs.push(pluginConfig(config));
  }
  const plugins = new PluginSet(configs, modules, environment);
  plugins.start();
  const filters = configs.map((_config, index) => plugins.httpFilter(index));
  const engine = await Engine.start({ ...options, filters });
  return {
    engine,
    shared,
    log,
    metric: (kind, name) => Number(shared.metrics.define(kind, name)?.value() ?? 0),
    close(): void {
      engine.close();
      plugins.close();
    },
  };
}

/** Encodes a message given as protobuf JSON-like fields (snake_case). Throws for fields that it does not have. */
export function encode(proto: string, type: string, fields: Record<string, unknown>): Uint8Array {
  const message = loadProtos([proto], protoFolders(REPOSITORY)).root.lookupType(type);
  const error = message.verify(message.fromObject(fields));
  if (error !== null) throw new Error(`${type}: ${error}`);
  return message.encode(message.fromObject(fields)).finish();
}

/** typed_per_filter_config of one filter, with the `rate_limits` that the message holds. */
export function perFilter(
  filter: string,
  id: number,
  config: Uint8Array,
  rateLimits?: readonly RateLimitConfig[],
): Pick<RouteConfigEntry, "perFilter"> {
  const override = { disabled: false, id, bytes: config, ...(rateLimits === undefined ? {} : { rateLimits }) };
  return { perFilter: { [`envoy.filters.http.${filter}`]: override } };
}
