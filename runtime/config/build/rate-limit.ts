/** envoy.config.route.v3.RateLimit: what a request is counted under. */
import type { Message } from "../document/message.ts";
import type { RateLimitAction, RateLimitConfig } from "../rate-limit-snapshot.ts";
import type { BuildContext } from "./context.ts";
import { buildHeaderMatcher, buildQueryParameterMatcher } from "./matcher.ts";

/** The rate limits of a route or virtual host. */
export function buildRateLimits(context: BuildContext, owner: Message): RateLimitConfig[] {
  return owner.messages("rate_limits").map((limit) => {
    if (limit.has("hits_addend"))
      context.unsupported(limit, "hits_addend", "hits_addend outside of a filter's own rate_limits");
    return buildRateLimit(context, limit);
  });
}

function buildRateLimit(context: BuildContext, limit: Message): RateLimitConfig {
  return {
    stage: limit.wrappedNumber("stage", 0),
    disableKey: limit.text("disable_key"),
    actions: limit
      .messages("actions")
      .map((action) => buildAction(context, action))
      .filter((action) => action !== undefined),
  };
}

/**
 * The rate limits in a filter's own configuration, which come in place of those of routes; undefined when there are
 * none. They all belong to the one stage of their filter and cannot be switched off one by one.
 */
export function buildFilterRateLimits(context: BuildContext, owner: Message): RateLimitConfig[] | undefined {
  const limits = owner.messages("rate_limits");
  for (const limit of limits) {
    for (const field of ["stage", "disable_key"]) {
      if (limit.has(field))
        context.error(limit, field, "rate-limit", `${field} has no meaning in a filter's own rate_limits`);
    }
  }
  if (limits.length === 0) return undefined;
  return limits.map((limit) => {
    const hits = limit.message("hits_addend");
    const built = buildRateLimit(context, limit);
    return hits?.has("number") === true ? { ...built, hitsAddend: hits.wrappedNumber("number", 1) } : built;
  });
}

function buildAction(context: BuildContext, action: Message): RateLimitAction | undefined {
  const kind = action.which("action_specifier");
  const inner = kind === undefined ? undefined : action.message(kind);
  if (kind === undefined || inner === undefined) return undefined;
  const key = inner.text("descriptor_key");
  const skipIfAbsent = inner.flag("skip_if_absent");
  switch (kind) {
    case "source_cluster":
    case "destination_cluster":
    case "remote_address":
      return { kind };
    case "masked_remote_address":
      return {
        kind,
        v4Bits: inner.wrappedNumber("v4_prefix_mask_len", 32),
        v6Bits: inner.wrappedNumber("v6_prefix_mask_len", 128),
      };
    case "request_headers":
      return { kind, header: context.header(inner, "header_name"), key, skipIfAbsent };
    case "query_parameters":
      return { kind, parameter: inner.text("query_parameter_name"), key, skipIfAbsent };
    case "generic_key":
      return { kind, key: key || "generic_key", value: inner.text("descriptor_value") };
    case "header_value_match":
    case "query_parameter_value_match":
      return valueMatch(context, kind, inner);
    case "metadata":
      return metadataAction(inner, { key, skipIfAbsent });
    default:
      context.unsupported(action, kind, `the rate limit action ${kind}`);
      return undefined;
  }
}

function valueMatch(
  context: BuildContext,
  kind: "header_value_match" | "query_parameter_value_match",
  inner: Message,
): RateLimitAction {
  const value = inner.text("descriptor_value");
  const expectMatch = inner.wrappedFlag("expect_match", true);
  const key = inner.text("descriptor_key");
  if (kind === "header_value_match") {
    const headers = inner.messages("headers").map((header) => buildHeaderMatcher(context, header));
    return { kind, key: key || "header_match", value, expectMatch, headers };
  }
  const parameters = inner
    .messages("query_parameters")
    .map((parameter) => buildQueryParameterMatcher(context, parameter));
  return { kind, key: key || "query_match", value, expectMatch, parameters };
}

function metadataAction(inner: Message, shared: { key: string; skipIfAbsent: boolean }): RateLimitAction {
  const metadataKey = inner.message("metadata_key");
  const segments = metadataKey?.messages("path").map((segment) => segment.text("key")) ?? [];
  return {
    kind: "metadata",
    ...shared,
    path: [metadataKey?.text("key") ?? "", ...segments],
    defaultValue: inner.text("default_value"),
    source: inner.number("source") === 1 ? "ROUTE_ENTRY" : "DYNAMIC",
  };
}
