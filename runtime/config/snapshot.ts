/**
 * The validated, cross-checked, frozen configuration: plain data only (it is posted to workers by
 * structured clone). Names follow Envoy's v3 messages; values have their final units.
 * Everything right of `config` reads this and nothing else of the configuration.
 */
import type {
  HashingConfig,
  LeastRequestConfig,
  OriginalDstConfig,
  OutlierConfig,
  SourceAddresses,
  SubsetsConfig,
  UpstreamProxyProtocol,
} from "./cluster-snapshot.ts";
import type { HttpHashPolicy } from "./hash-policy-snapshot.ts";
import type { HotLoadConfig } from "./hot-load-snapshot.ts";
import type { FilterChainMatch, ListenerConfig } from "./listener-snapshot.ts";
import type { NativeFilterConfig } from "./network-snapshot.ts";
import type { CodeCacheConfig, PluginConfig, RegistriesConfig, TrustRuleConfig } from "./plugin-snapshot.ts";
import type { RateLimitConfig } from "./rate-limit-snapshot.ts";
import type { DownstreamTlsConfig, UpstreamTlsConfig } from "./tls-snapshot.ts";

export type {
  CodeCacheConfig,
  Isolation,
  PluginConfig,
  RegistriesConfig,
  RemoteCode,
  RouteConfiguration,
  TrustRuleConfig,
} from "./plugin-snapshot.ts";
export type { ListenerConfig } from "./listener-snapshot.ts";

export interface Snapshot {
  readonly node: NodeConfig;
  /** undefined: no admin server. */
  readonly admin: AdminConfig | undefined;
  readonly listeners: readonly ListenerConfig[];
  readonly clusters: readonly ClusterConfig[];
  /** Every configured use of a Wasm module; HTTP filters refer to them by index. */
  readonly plugins: readonly PluginConfig[];
  /** How plugins are replaced while the proxy runs. */
  readonly hotLoad: HotLoadConfig;
  /** What was fetched. */
  readonly codeCache: CodeCacheConfig;
  /** Plugins whose configuration cannot be read before their module has been fetched; it is empty here. */
  readonly typesWanted: readonly string[];
  readonly registries: RegistriesConfig;
  /** Who must have signed which plugins' modules; empty: nobody. */
  readonly trust: readonly TrustRuleConfig[];
  /** Of the whole process; Infinity: any number. Envoy: the overload manager's downstream connections. */
  readonly maxDownstreamConnections: number;
  /** Static runtime layers, flattened with dots; later layers win. */
  readonly runtime: Readonly<Record<string, RuntimeValue>>;
  /** The bootstrap as protobuf JSON (snake_case, secrets redacted), for `/config_dump`. */
  readonly dump: unknown;
}

export type RuntimeValue = number | boolean | string | FractionalPercent;
export interface FractionalPercent {
  readonly numerator: number;
  /** 100, 10 000 or 1 000 000. */
  readonly denominator: number;
}
/** envoy.config.core.v3.RuntimeFractionalPercent. */
export interface RuntimeFraction extends FractionalPercent {
  readonly runtimeKey: string;
}

export interface NodeConfig {
  readonly id: string;
  readonly cluster: string;
  readonly zone: string;
  readonly region: string;
  readonly subZone: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** envoy.config.core.v3.Node serialized, for the property `xds.node`. */
  readonly serialized: Uint8Array;
}

export interface AdminConfig {
  readonly address: Address;
  readonly accessLogs: readonly AccessLogConfig[];
}

export type Address =
  | { readonly kind: "ip"; readonly host: string; readonly port: number; readonly ipv4Compat: boolean }
  | { readonly kind: "pipe"; readonly path: string; readonly mode: number };

export interface FilterChainConfig {
  /** Absent: plain bytes. */
  readonly tls?: DownstreamTlsConfig | undefined;
  /** Milliseconds for the transport socket's handshake; absent or 0: the host's own bound. */
  readonly transportConnectTimeoutMs?: number | undefined;
  readonly name: string;
  readonly match: FilterChainMatch;
  readonly filters: readonly NetworkFilterConfig[];
}

export type NetworkFilterConfig =
  | { readonly kind: "http_connection_manager"; readonly name: string; readonly hcm: HttpConnectionManagerConfig }
  | NativeFilterConfig
  | { readonly kind: "wasm"; readonly name: string; readonly plugin: number };

export interface HttpConnectionManagerConfig {
  readonly statPrefix: string;
  readonly codecType: "AUTO" | "HTTP1" | "HTTP2";
  readonly routeConfig: RouteConfig;
  readonly httpFilters: readonly HttpFilterConfig[];
  readonly serverName: string;
  readonly serverHeaderTransformation: "OVERWRITE" | "APPEND_IF_ABSENT" | "PASS_THROUGH";
  readonly via: string;
  readonly useRemoteAddress: boolean;
  readonly xffNumTrustedHops: number;
  readonly skipXffAppend: boolean;
  readonly generateRequestId: boolean;
  readonly preserveExternalRequestId: boolean;
  readonly alwaysSetRequestIdInResponse: boolean;
  readonly addUserAgent: boolean;
  readonly proxy100Continue: boolean;
  readonly maxRequestHeadersBytes: number;
  readonly maxHeadersCount: number;
  /** 0 = off, for every timeout here. */
  readonly streamIdleTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly requestHeadersTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly maxConnectionDurationMs: number;
  readonly maxStreamDurationMs: number;
  readonly delayedCloseTimeoutMs: number;
  readonly drainTimeoutMs: number;
  /** 0 = unlimited. */
  readonly maxRequestsPerConnection: number;
  readonly headersWithUnderscores: "ALLOW" | "REJECT_REQUEST" | "DROP_HEADER";
  readonly acceptHttp10: boolean;
  readonly defaultHostForHttp10: string;
  readonly enableTrailers: boolean;
  readonly normalizePath: boolean;
  readonly mergeSlashes: boolean;
  readonly stripPort: "none" | "matching" | "any";
  readonly stripTrailingHostDot: boolean;
  /** CIDR texts of internal_address_config; empty = nothing is internal. */
  readonly internalCidrs: readonly string[];
  readonly accessLogs: readonly AccessLogConfig[];
  /** HTTP/2 from downstream; absent: the host's own bounds. */
  readonly http2?: Http2Options | undefined;
  /** Absent: SANITIZE. */
  readonly clientCert?: ClientCertForwarding | undefined;
  readonly upgrades: readonly UpgradeConfig[];
}

/** HttpConnectionManager.UpgradeConfig, and RouteAction.UpgradeConfig, which has the last word. */
export interface UpgradeConfig {
  /** Lower case. */
  readonly type: string;
  readonly enabled: boolean;
}

/** envoy.config.core.v3.Http2ProtocolOptions. */
export interface Http2Options {
  readonly maxConcurrentStreams: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Extended CONNECT (RFC 8441). */
  readonly allowConnect: boolean;
}

/** HttpConnectionManager.forward_client_cert_details and set_current_client_cert_details. */
export interface ClientCertForwarding {
  readonly mode: "SANITIZE" | "FORWARD_ONLY" | "APPEND_FORWARD" | "SANITIZE_SET" | "ALWAYS_FORWARD_ONLY";
  readonly details: readonly ("cert" | "chain" | "subject" | "uri" | "dns")[];
}

/** Filters in order; the last one is always the router. */
export type HttpFilterConfig =
  | {
      readonly kind: "router";
      readonly name: string;
      readonly disabled: boolean;
      readonly suppressEnvoyHeaders: boolean;
      readonly respectExpectedRqTimeout: boolean;
    }
  | { readonly kind: "wasm"; readonly name: string; readonly disabled: boolean; readonly plugin: number };

/**
 * Per-route configuration of filters: HttpFilter.name to its override. `id` is one of a place and its content, also
 * in later snapshots, so that a guest decodes each override once; 0: there is nothing to decode.
 */
export type PerFilterConfig = Readonly<Record<string, FilterOverride>>;
export interface FilterOverride {
  readonly disabled: boolean;
  readonly id: number;
  readonly bytes: Uint8Array | undefined;
  /** `rate_limits` in the message, when it has any. */
  readonly rateLimits?: readonly RateLimitConfig[];
}

export interface RouteConfig {
  readonly name: string;
  readonly virtualHosts: readonly VirtualHostConfig[];
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
  readonly internalOnlyHeaders: readonly string[];
  readonly mostSpecificHeaderMutationsWins: boolean;
  readonly ignorePortInHostMatching: boolean;
  readonly perFilter: PerFilterConfig;
}

export interface VirtualHostConfig {
  readonly name: string;
  /** Lower case. */
  readonly domains: readonly string[];
  readonly routes: readonly RouteConfigEntry[];
  readonly requireTls: "NONE" | "EXTERNAL_ONLY" | "ALL";
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
  readonly rateLimits: readonly RateLimitConfig[];
  readonly retryPolicy: RetryPolicy | undefined;
  readonly includeRequestAttemptCount: boolean;
  readonly includeAttemptCountInResponse: boolean;
  readonly perFilter: PerFilterConfig;
  /** Namespace to struct; absent: none. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

export interface RouteConfigEntry {
  readonly name: string;
  readonly match: RouteMatch;
  readonly action: RouteAction;
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
  readonly perFilter: PerFilterConfig;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface RouteMatch {
  readonly path:
    | { readonly kind: "prefix"; readonly value: string }
    | { readonly kind: "path"; readonly value: string }
    | { readonly kind: "path_separated_prefix"; readonly value: string }
    | { readonly kind: "safe_regex"; readonly value: string }
    | { readonly kind: "connect" };
  readonly caseSensitive: boolean;
  readonly headers: readonly HeaderMatcher[];
  readonly queryParameters: readonly QueryParameterMatcher[];
  readonly runtimeFraction: RuntimeFraction | undefined;
  readonly grpc: boolean;
  /** tls_context; absent: any. */
  readonly tls?: { readonly presented: boolean | undefined; readonly validated: boolean | undefined } | undefined;
}

export interface StringMatcher {
  readonly kind: "exact" | "prefix" | "suffix" | "contains" | "safe_regex";
  readonly value: string;
  readonly ignoreCase: boolean;
}
export interface HeaderMatcher {
  /** Lower case. */
  readonly name: string;
  readonly matcher:
    | { readonly kind: "present"; readonly present: boolean }
    | { readonly kind: "range"; readonly start: number; readonly end: number }
    | { readonly kind: "string"; readonly string: StringMatcher };
  readonly invert: boolean;
  readonly treatMissingAsEmpty: boolean;
}
export interface QueryParameterMatcher {
  readonly name: string;
  /** undefined: present is enough. */
  readonly string: StringMatcher | undefined;
}

export type RouteAction =
  | ForwardAction
  | {
      readonly kind: "redirect";
      readonly https: boolean;
      readonly scheme: string;
      readonly host: string;
      /** 0 = keep. */
      readonly port: number;
      readonly path: string;
      readonly prefixRewrite: string | undefined;
      readonly regexRewrite: RegexRewrite | undefined;
      readonly status: number;
      readonly stripQuery: boolean;
    }
  | { readonly kind: "direct_response"; readonly status: number; readonly body: string }
  /** non_forwarding_action, filter_action: 500 when reached by the router. */
  | { readonly kind: "none" };

export interface ForwardAction {
  readonly kind: "route";
  readonly cluster:
    | { readonly kind: "cluster"; readonly name: string }
    | { readonly kind: "cluster_header"; readonly header: string }
    | { readonly kind: "weighted"; readonly total: number; readonly clusters: readonly WeightedCluster[] };
  readonly clusterNotFoundStatus: number;
  /** 0 = off. */
  readonly timeoutMs: number;
  /** undefined = the connection manager's. */
  readonly idleTimeoutMs: number | undefined;
  readonly prefixRewrite: string;
  readonly regexRewrite: RegexRewrite | undefined;
  readonly hostRewrite:
    | { readonly kind: "none" }
    | { readonly kind: "literal"; readonly value: string }
    | { readonly kind: "auto" }
    | { readonly kind: "header"; readonly name: string }
    | { readonly kind: "path_regex"; readonly rewrite: RegexRewrite };
  readonly appendXForwardedHost: boolean;
  readonly retryPolicy: RetryPolicy | undefined;
  readonly rateLimits: readonly RateLimitConfig[];
  readonly includeVhRateLimits: boolean;
  readonly upgrades: readonly UpgradeConfig[];
  /** Tunnels end here, and hosts get the bytes as they are; absent: CONNECT goes on to a host. */
  readonly connect?: { /** Those of the method POST as well. */ readonly allowPost: boolean } | undefined;
  /** The metadata `envoy.lb` that hosts must have; absent: any. */
  readonly metadataMatch?: Readonly<Record<string, unknown>> | undefined;
  /** Absent: streams have no hash. */
  readonly hashPolicy?: readonly HttpHashPolicy[] | undefined;
}
export interface WeightedCluster {
  readonly name: string;
  readonly weight: number;
  /** Added to the route's. */
  readonly metadataMatch?: Readonly<Record<string, unknown>> | undefined;
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
  readonly perFilter: PerFilterConfig;
}
export interface RegexRewrite {
  readonly regex: string;
  readonly substitution: string;
}
export interface RetryPolicy {
  /** Tokens of retry_on, trimmed. */
  readonly retryOn: readonly string[];
  readonly numRetries: number;
  readonly perTryTimeoutMs: number;
  readonly retriableStatusCodes: readonly number[];
  readonly baseIntervalMs: number;
  readonly maxIntervalMs: number;
  /** Absent: the policy of the cluster alone chooses hosts. */
  readonly hostSelection?: HostSelection | undefined;
}
/** retry_host_predicate and host_selection_retry_max_attempts: hosts that a retry is not to meet. */
export interface HostSelection {
  /** How often another one is chosen. */
  readonly more: number;
  /** Those that were tried before. */
  readonly previous: boolean;
  /** Those whose metadata `envoy.lb` says `canary: true`. */
  readonly canaries: boolean;
  /** Those whose metadata `envoy.lb` has all of these; absent: whatever they have. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

export interface HeaderMutation {
  readonly add: readonly HeaderValueOption[];
  /** Lower case. */
  readonly remove: readonly string[];
}
export interface HeaderValueOption {
  /** Lower case. */
  readonly name: string;
  /** A format string with %COMMANDS%. */
  readonly value: string;
  readonly action: "APPEND_IF_EXISTS_OR_ADD" | "ADD_IF_ABSENT" | "OVERWRITE_IF_EXISTS_OR_ADD" | "OVERWRITE_IF_EXISTS";
  readonly keepEmptyValue: boolean;
}

export type AccessLogConfig = TextAccessLog | PluginAccessLog;
export interface TextAccessLog {
  readonly sink:
    | { readonly kind: "file"; readonly path: string }
    | { readonly kind: "stdout" }
    | { readonly kind: "stderr" };
  readonly format:
    | { readonly kind: "text"; readonly text: string; readonly omitEmptyValues: boolean }
    | { readonly kind: "json"; readonly json: unknown; readonly omitEmptyValues: boolean };
  readonly filter: AccessLogFilter | undefined;
}
/** A plugin hears of each stream. */
export interface PluginAccessLog {
  /** Index into the snapshot's plugins. */
  readonly plugin: number;
  readonly filter: AccessLogFilter | undefined;
}
export type AccessLogFilter =
  | {
      readonly kind: "status_code" | "duration";
      readonly op: "EQ" | "GE" | "LE" | "NE";
      readonly value: number;
      readonly runtimeKey: string;
    }
  | { readonly kind: "and" | "or"; readonly filters: readonly AccessLogFilter[] }
  | { readonly kind: "header"; readonly header: HeaderMatcher }
  /** Empty: any flag. */
  | { readonly kind: "response_flag"; readonly flags: readonly string[] }
  | { readonly kind: "runtime"; readonly fraction: RuntimeFraction }
  | { readonly kind: "not_health_check" };

export interface ClusterConfig {
  readonly name: string;
  /** `cluster.<statName>.` */
  readonly statName: string;
  readonly type: "STATIC" | "STRICT_DNS" | "LOGICAL_DNS" | "ORIGINAL_DST";
  readonly lbPolicy: "ROUND_ROBIN" | "LEAST_REQUEST" | "RANDOM" | "RING_HASH" | "MAGLEV" | "CLUSTER_PROVIDED";
  /** Of the policies RING_HASH and MAGLEV. */
  readonly hashing?: HashingConfig | undefined;
  /** Absent: hosts are not divided. */
  readonly subsets?: SubsetsConfig | undefined;
  /** Percent of usable hosts below which all are used; absent: the host's own. */
  readonly healthyPanicPercent?: number | undefined;
  /** Percent by which the share of usable hosts of a priority counts; absent: the host's own. */
  readonly overprovisioningPercent?: number | undefined;
  /** Absent: hosts are not watched. */
  readonly outlier?: OutlierConfig | undefined;
  /** Of the policy LEAST_REQUEST; absent: Envoy's defaults. */
  readonly leastRequest?: LeastRequestConfig | undefined;
  /** Of the type ORIGINAL_DST. */
  readonly originalDst?: OriginalDstConfig;
  /** Where connections to hosts come from; absent: the system chooses. Envoy: `upstream_bind_config`. */
  readonly sources?: SourceAddresses | undefined;
  readonly connectTimeoutMs: number;
  readonly perConnectionBufferLimitBytes: number;
  readonly protocol: "HTTP1" | "HTTP2";
  readonly endpoints: readonly EndpointConfig[];
  readonly dnsRefreshRateMs: number;
  readonly dnsFailureRefreshRateMs: number;
  readonly dnsLookupFamily: "AUTO" | "V4_ONLY" | "V6_ONLY" | "V4_PREFERRED" | "ALL";
  readonly idleTimeoutMs: number;
  /** 0 = unlimited. */
  readonly maxRequestsPerConnection: number;
  readonly circuitBreakers: CircuitBreakers;
  /** TLS contexts that endpoints refer to; absent: none. */
  readonly tls?: readonly UpstreamTlsConfig[] | undefined;
  /** Index in `tls` for hosts that no endpoint describes. */
  readonly defaultTls?: number | undefined;
  /** The same for what hosts are told of downstream; absent: nothing. */
  readonly defaultProxyProtocol?: UpstreamProxyProtocol | undefined;
  readonly metadata: Readonly<Record<string, unknown>>;
}
export interface CircuitBreakers {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  /** In the place of `maxRetries`; absent: that. */
  readonly retryBudget?: { readonly percent: number; readonly minConcurrency: number } | undefined;
}
export interface EndpointConfig {
  readonly address: Address;
  readonly hostname: string;
  readonly weight: number;
  readonly priority: number;
  readonly healthy: boolean;
  /** Usable, but only where healthy hosts are too few. */
  readonly degraded?: boolean | undefined;
  /** Index in the cluster's `tls`; absent: plain bytes. */
  readonly tls?: number | undefined;
  /** What the host is told of downstream; absent: nothing. */
  readonly proxyProtocol?: UpstreamProxyProtocol | undefined;
  /** Namespace to struct; absent: none. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}
