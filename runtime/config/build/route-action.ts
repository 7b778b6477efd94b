/** What a route does with its requests: forward, redirect, answer. */
import { reasonOf } from "../../codec/h1-reasons.ts";
import { MAX_TOTAL_WEIGHT, NUM_RETRIES, RETRY_BASE_INTERVAL_MS, ROUTE_TIMEOUT_MS } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import type { ForwardAction, RegexRewrite, RetryPolicy, RouteAction, WeightedCluster } from "../snapshot.ts";
import { buildBackoff } from "./backoff.ts";
import type { BuildContext } from "./context.ts";
import { readDataSource } from "./data-source.ts";
import { buildHashPolicies } from "./hash-policy.ts";
import { buildHeaderMutation } from "./header-mutation.ts";
import { buildHostSelection } from "./host-selection.ts";
import { metadataMatch } from "./metadata.ts";
import { buildPerFilter, type FilterNames } from "./per-filter.ts";
import { buildRateLimits } from "./rate-limit.ts";
import { buildConnect, buildUpgrades } from "./upgrade.ts";

/** What every part of one route table is built with. */
export interface RouteScope {
  readonly context: BuildContext;
  readonly filters: FilterNames;
  /** False: unknown clusters are found out at run time. */
  readonly validateClusters: boolean;
  readonly maxDirectBodyBytes: number;
}

const REDIRECT_STATUS = [301, 302, 303, 307, 308];
const CLUSTER_NOT_FOUND_STATUS = [503, 404, 500];

/** The action of a route. */
export function buildRouteAction(scope: RouteScope, route: Message): RouteAction {
  const kind = route.which("action");
  const action = kind === undefined ? undefined : route.message(kind);
  if (action === undefined) return { kind: "none" };
  if (kind === "route") return forward(scope, action);
  if (kind === "redirect") return redirect(scope, action);
  if (kind === "direct_response") return directResponse(scope, action);
  if (kind === "filter_action") scope.context.unsupported(route, kind, "filter_action");
  return { kind: "none" };
}

/** envoy.config.route.v3.RetryPolicy. */
export function buildRetryPolicy(scope: RouteScope, owner: Message): RetryPolicy | undefined {
  const policy = owner.message("retry_policy");
  if (policy === undefined) return undefined;
  const options = policy.message("retry_back_off");
  const backoff = buildBackoff(scope.context, options, RETRY_BASE_INTERVAL_MS, "retry-policy");
  return {
    retryOn: policy
      .text("retry_on")
      .split(",")
      .map((token) => token.trim())
      .filter((token) => token !== ""),
    numRetries: policy.wrappedNumber("num_retries", NUM_RETRIES),
    perTryTimeoutMs: scope.context.millis(policy, "per_try_timeout", 0),
    retriableStatusCodes: policy.numbers("retriable_status_codes"),
    baseIntervalMs: backoff.baseMs,
    maxIntervalMs: backoff.maxMs,
    ...buildHostSelection(scope.context, policy),
  };
}

function forward(scope: RouteScope, action: Message): ForwardAction {
  const { context } = scope;
  const rewrites = ["prefix_rewrite", "regex_rewrite"].filter(
    (field) => action.has(field) && (field !== "prefix_rewrite" || action.text(field) !== ""),
  );
  if (rewrites.length > 1)
    context.error(action, "regex_rewrite", "rewrite", "only one of prefix_rewrite and regex_rewrite may be set");
  const hashPolicy = buildHashPolicies(context, action, (owner, field) => regexRewrite(scope, owner, field));
  return {
    kind: "route",
    cluster: clusterOf(scope, action),
    clusterNotFoundStatus: CLUSTER_NOT_FOUND_STATUS[action.number("cluster_not_found_response_code")] ?? 503,
    timeoutMs: context.millis(action, "timeout", ROUTE_TIMEOUT_MS),
    idleTimeoutMs: action.has("idle_timeout") ? context.millis(action, "idle_timeout", 0) : undefined,
    prefixRewrite: action.text("prefix_rewrite"),
    regexRewrite: regexRewrite(scope, action, "regex_rewrite"),
    hostRewrite: hostRewrite(scope, action),
    appendXForwardedHost: action.flag("append_x_forwarded_host"),
    retryPolicy: buildRetryPolicy(scope, action),
    rateLimits: buildRateLimits(context, action),
    includeVhRateLimits: action.wrappedFlag("include_vh_rate_limits", false),
    upgrades: buildUpgrades(context, action),
    ...buildConnect(action),
    ...metadataMatch(action),
    ...(hashPolicy === undefined ? {} : { hashPolicy }),
  };
}

function clusterOf(scope: RouteScope, action: Message): ForwardAction["cluster"] {
  const { context } = scope;
  const weighted = action.message("weighted_clusters");
  if (weighted !== undefined) return weightedClusters(scope, weighted);
  if (action.has("cluster_header")) return { kind: "cluster_header", header: context.header(action, "cluster_header") };
  const other = action.which("cluster_specifier");
  if (other !== undefined && other !== "cluster") context.unsupported(action, other, "cluster specifier plugins");
  return {
    kind: "cluster",
    name: scope.validateClusters ? context.cluster(action, "cluster") : action.text("cluster"),
  };
}

function weightedClusters(scope: RouteScope, weighted: Message): ForwardAction["cluster"] {
  const clusters = weighted.messages("clusters").map((entry): WeightedCluster => {
    if (entry.has("cluster_header") && entry.text("cluster_header") !== "")
      scope.context.unsupported(entry, "cluster_header", "cluster_header of a weighted cluster");
    else if (entry.text("name") === "")
      scope.context.error(entry, "name", "weighted-cluster", "a weighted cluster needs a name");
    return {
      name: scope.validateClusters ? scope.context.cluster(entry, "name") : entry.text("name"),
      weight: entry.wrappedNumber("weight", 0),
      requestHeaders: buildHeaderMutation(scope.context, entry, "request"),
      responseHeaders: buildHeaderMutation(scope.context, entry, "response"),
      perFilter: buildPerFilter(scope.context, scope.filters, entry),
      ...metadataMatch(entry),
    };
  });
  const total = clusters.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0)
    scope.context.error(weighted, "clusters", "weighted-cluster", "the weights must add up to more than 0");
  if (total > MAX_TOTAL_WEIGHT)
    scope.context.error(weighted, "clusters", "weighted-cluster", "the weights must add up to less than 2^32");
  return { kind: "weighted", total, clusters };
}

function hostRewrite(scope: RouteScope, action: Message): ForwardAction["hostRewrite"] {
  switch (action.which("host_rewrite_specifier")) {
    case "host_rewrite_literal":
      return { kind: "literal", value: action.text("host_rewrite_literal") };
    case "auto_host_rewrite":
      return { kind: action.wrappedFlag("auto_host_rewrite", false) ? "auto" : "none" };
    case "host_rewrite_header":
      return { kind: "header", name: scope.context.header(action, "host_rewrite_header") };
    case "host_rewrite_path_regex": {
      const rewrite = regexRewrite(scope, action, "host_rewrite_path_regex");
      return rewrite === undefined ? { kind: "none" } : { kind: "path_regex", rewrite };
    }
    default:
      return { kind: "none" };
  }
}

function regexRewrite(scope: RouteScope, owner: Message, field: string): RegexRewrite | undefined {
  const rewrite = owner.message(field);
  const pattern = rewrite?.message("pattern");
  if (rewrite === undefined || pattern === undefined) return undefined;
  const substitution = rewrite.text("substitution");
  if (/\\(?![0-9\\])/.test(substitution))
    scope.context.error(rewrite, "substitution", "rewrite", "after a backslash only a digit or a backslash may stand");
  return { regex: scope.context.regex(pattern, "regex"), substitution };
}

function redirect(scope: RouteScope, action: Message): RouteAction {
  return {
    kind: "redirect",
    https: action.flag("https_redirect"),
    scheme: action.text("scheme_redirect"),
    host: action.text("host_redirect"),
    port: action.number("port_redirect"),
    path: action.text("path_redirect"),
    prefixRewrite: action.has("prefix_rewrite") ? action.text("prefix_rewrite") : undefined,
    regexRewrite: regexRewrite(scope, action, "regex_rewrite"),
    status: REDIRECT_STATUS[action.number("response_code")] ?? 301,
    stripQuery: action.flag("strip_query"),
  };
}

function directResponse(scope: RouteScope, action: Message): RouteAction {
  const source = action.message("body");
  const status = action.number("status");
  const bytes = source === undefined ? undefined : readDataSource(scope.context, source, scope.maxDirectBodyBytes);
  if (bytes !== undefined && bytes.length > scope.maxDirectBodyBytes) {
    scope.context.error(
      action,
      "body",
      "direct-response",
      `the body has ${bytes.length} bytes, more than ${scope.maxDirectBodyBytes} (max_direct_response_body_size_bytes)`,
    );
  }
  if (status >= 200 && status < 600 && reasonOf(status) === "")
    scope.context.warn(action, "status", "status", `${status} is not a registered status`);
  return { kind: "direct_response", status, body: bytes === undefined ? "" : Buffer.from(bytes).toString("utf8") };
}
