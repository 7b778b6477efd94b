/** What the snapshot says of plugins: plain data, as all of it. */
import type { RateLimitConfig } from "./rate-limit-snapshot.ts";

/** `worker`: all streams of a worker share one instance. `connection`, `stream`: each gets a pristine one. */
export type Isolation = "worker" | "connection" | "stream";

/** envoy.config.core.v3.RemoteDataSource. */
export interface RemoteCode {
  readonly kind: "remote";
  readonly uri: string;
  /** Where the request is sent; the URI gives the Host header and the path. */
  readonly cluster: string;
  readonly timeoutMs: number;
  /** Lower-case hexadecimal. Of a tag in a registry that is not pinned: the hash of the URI, which stands for it. */
  readonly sha256: string;
  /** It lies in a registry; `pinned`: `sha256` is that of the module, or of the manifest. */
  readonly oci?: { readonly pinned: boolean };
  readonly retries: number;
  readonly retryBaseIntervalMs: number;
  readonly retryMaxIntervalMs: number;
  /** VmConfig.nack_on_code_cache_miss: without the code the configuration is refused. Otherwise the failure policy holds. */
  readonly nackOnCacheMiss: boolean;
}

/** sluice.v1.CodeCache. */
export interface CodeCacheConfig {
  /** Absolute folder. */
  readonly path: string;
  readonly maxBytes: number;
}

/** sluice.v1.Registries. */
export interface RegistriesConfig {
  /** undefined: as the tag is. */
  readonly pullPolicy: "IF_NOT_PRESENT" | "ALWAYS" | undefined;
  /** 0: never. */
  readonly pollMs: number;
  /** Absolute files, or folders that hold one; the first that knows a registry is taken. */
  readonly dockerConfigs: readonly string[];
  /** An absolute file. */
  readonly ca: string | undefined;
  readonly plainHttp: boolean;
}

/** sluice.v1.TrustRule; `plugins` is empty for all. */
export interface TrustRuleConfig {
  readonly plugins: readonly string[];
  /** Public keys, PEM, with the names that people know them by. */
  readonly keys: readonly { readonly name: string; readonly pem: string }[];
  readonly enforced: boolean;
}

/** A configuration of a plugin on some routes; `id` is that of the overrides which mean it. */
export interface RouteConfiguration {
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** envoy.extensions.wasm.v3.PluginConfig, plus what a bundled filter's own message turns into. */
export interface PluginConfig {
  /** PluginConfig.name, or the HttpFilter's name for bundled filters. */
  readonly name: string;
  readonly rootId: string;
  readonly vmId: string;
  /** Module code: an absolute file, the bytes themselves, or where to fetch them. */
  readonly code:
    | { readonly kind: "file"; readonly path: string }
    | { readonly kind: "inline"; readonly bytes: Uint8Array }
    | RemoteCode;
  /** What buffer PluginConfiguration holds. */
  readonly configuration: Uint8Array;
  /** What it holds on routes that say so in typed_per_filter_config, each once. Absent for bundled filters, which ask for theirs. */
  readonly routeConfigurations?: readonly RouteConfiguration[];
  /** Each of those gets a VM of its own. */
  readonly ownRouteVms?: boolean;
  /** It serves no streams (WasmService, access logger), and runs once in each worker, or once in the process. */
  readonly service?: "worker" | "process" | undefined;
  /** A filter of connections, to which requests and their headers are bytes. */
  readonly network?: true;
  readonly vmConfiguration: Uint8Array;
  readonly environment: Readonly<Record<string, string>>;
  /** undefined: everything is allowed. */
  readonly allowedCapabilities: readonly string[] | undefined;
  readonly failurePolicy: "FAIL_CLOSED" | "FAIL_OPEN" | "FAIL_RELOAD";
  /** Shortest time between two restarts of a failed instance under FAIL_RELOAD. Envoy: `reload_config.backoff.base_interval`, 1 s. */
  readonly reloadIntervalMs: number;
  /** Who shares an instance; undefined: what the module's manifest wants, else `worker`. */
  readonly isolation: Isolation | undefined;
  /** Units of fuel for one callback, see limits.ts GUEST_FUEL. */
  readonly fuel: number;
  /** Bytes of guest memory at most, in whole pages of 64 KiB. */
  readonly memoryBytes: number;
  /** Instances per worker at most, for the isolations that keep a pool. */
  readonly maxInstances: number;
  readonly allowOnHeadersStopIteration: boolean;
  /** True for modules that ship with Sluice: their metrics carry Envoy's names, not `wasmcustom.`. */
  readonly bundled: boolean;
  /** `http.<stat_prefix>.` of the connection manager that uses it; "" elsewhere. */
  readonly statPrefix: string;
  /** HttpFilter.name: the key of typed_per_filter_config. */
  readonly filterName: string;
  readonly direction: number;
  /** `rate_limits` in a bundled filter's configuration, when it has any. */
  readonly rateLimits?: readonly RateLimitConfig[];
}
