/** envoy.config.route.v3.RouteConfiguration. */
import { MAX_DIRECT_BODY_BYTES } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import type { RouteConfig, RouteConfigEntry, RouteMatch, VirtualHostConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { buildHeaderMutation } from "./header-mutation.ts";
import { buildHeaderMatcher, buildQueryParameterMatcher, buildRuntimeFraction, regexOf } from "./matcher.ts";
import { filterMetadata } from "./metadata.ts";
import { buildPerFilter, type FilterNames } from "./per-filter.ts";
import { buildRateLimits } from "./rate-limit.ts";
import { buildRetryPolicy, buildRouteAction } from "./route-action.ts";
import type { RouteScope } from "./route-action.ts";

/** A route table for the filters of one connection manager. */
export function buildRouteConfig(context: BuildContext, filters: FilterNames, table: Message): RouteConfig {
  const scope: RouteScope = {
    context,
    filters,
    validateClusters: table.wrappedFlag("validate_clusters", true),
    maxDirectBodyBytes: table.wrappedNumber("max_direct_response_body_size_bytes", MAX_DIRECT_BODY_BYTES),
  };
  const hosts = table.messages("virtual_hosts");
  checkDomains(context, hosts);
  return {
    name: table.text("name"),
    virtualHosts: hosts.map((host) => virtualHost(scope, host)),
    requestHeaders: buildHeaderMutation(context, table, "request"),
    responseHeaders: buildHeaderMutation(context, table, "response"),
    internalOnlyHeaders: context.headers(table, "internal_only_headers"),
    mostSpecificHeaderMutationsWins: table.flag("most_specific_header_mutations_wins"),
    ignorePortInHostMatching: table.flag("ignore_port_in_host_matching"),
    perFilter: buildPerFilter(context, filters, table),
  };
}

function checkDomains(context: BuildContext, hosts: readonly Message[]): void {
  const names = new Set<string>();
  const domains = new Set<string>();
  for (const host of hosts) {
    const name = host.text("name");
    if (names.has(name))
      context.error(
        host,
        "name",
        "duplicate",
        `only unique names for virtual hosts are permitted; duplicate entry of virtual host ${name}`,
      );
    names.add(name);
    for (const [index, domain] of host.texts("domains").entries()) {
      const key = domain.toLowerCase();
      if (domains.has(key)) {
        const text =
          key === "*"
            ? "only a single wildcard domain is permitted"
            : `only unique values for domains are permitted; duplicate entry of domain ${domain}`;
        context.itemError(host, "domains", index, { rule: "duplicate", text });
      }
      domains.add(key);
      if (key.slice(1, -1).includes("*"))
        context.itemError(host, "domains", index, {
          rule: "domain",
          text: `${domain}: a wildcard may stand only at the begin or end`,
        });
    }
  }
}

function virtualHost(scope: RouteScope, host: Message): VirtualHostConfig {
  const requireTls = scope.context.enumName(host, "require_tls");
  return {
    name: host.text("name"),
    domains: host.texts("domains").map((domain) => domain.toLowerCase()),
    routes: host.messages("routes").map((route) => routeEntry(scope, route)),
    requireTls: requireTls === "EXTERNAL_ONLY" || requireTls === "ALL" ? requireTls : "NONE",
    requestHeaders: buildHeaderMutation(scope.context, host, "request"),
    responseHeaders: buildHeaderMutation(scope.context, host, "response"),
    rateLimits: buildRateLimits(scope.context, host),
    retryPolicy: buildRetryPolicy(scope, host),
    includeRequestAttemptCount: host.flag("include_request_attempt_count"),
    includeAttemptCountInResponse: host.flag("include_attempt_count_in_response"),
    perFilter: buildPerFilter(scope.context, scope.filters, host),
    ...(host.has("metadata") ? { metadata: filterMetadata(host) } : {}),
  };
}

function routeEntry(scope: RouteScope, route: Message): RouteConfigEntry {
  return {
    name: route.text("name"),
    match: routeMatch(scope.context, route.message("match")),
    action: buildRouteAction(scope, route),
    requestHeaders: buildHeaderMutation(scope.context, route, "request"),
    responseHeaders: buildHeaderMutation(scope.context, route, "response"),
    perFilter: buildPerFilter(scope.context, scope.filters, route),
    metadata: filterMetadata(route),
  };
}

function routeMatch(context: BuildContext, match: Message | undefined): RouteMatch {
  return {
    path: pathMatch(context, match),
    caseSensitive: match?.wrappedFlag("case_sensitive", true) ?? true,
    headers: match?.messages("headers").map((header) => buildHeaderMatcher(context, header)) ?? [],
    queryParameters:
      match?.messages("query_parameters").map((parameter) => buildQueryParameterMatcher(context, parameter)) ?? [],
    runtimeFraction: buildRuntimeFraction(match?.message("runtime_fraction")),
    grpc: match?.has("grpc") ?? false,
    ...tlsMatch(match?.message("tls_context")),
  };
}

function pathMatch(context: BuildContext, match: Message | undefined): RouteMatch["path"] {
  const kind = match?.which("path_specifier");
  switch (kind) {
    case "prefix":
    case "path":
    case "path_separated_prefix":
      return { kind, value: match?.text(kind) ?? "" };
    case "safe_regex":
      return { kind, value: match === undefined ? "" : regexOf(context, match, kind) };
    case "connect_matcher":
      return { kind: "connect" };
    default:
      return { kind: "prefix", value: "/" };
  }
}

/** envoy.config.route.v3.RouteMatch.TlsContextMatchOptions. */
function tlsMatch(options: Message | undefined): Pick<RouteMatch, "tls"> {
  if (options === undefined) return {};
  const flag = (field: string): boolean | undefined => options.message(field)?.flag("value");
  return { tls: { presented: flag("presented"), validated: flag("validated") } };
}
