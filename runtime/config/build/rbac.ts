/** envoy.extensions.filters.network.rbac.v3.RBAC and the rules in it. */
import type { Message } from "../document/message.ts";
import type { MetadataMatcher, NetworkRbacConfig, RbacMatcher, RbacRules, ValueMatcher } from "../network-snapshot.ts";
import type { StringMatcher } from "../snapshot.ts";
import { buildCidr } from "./address.ts";
import type { BuildContext } from "./context.ts";
import { buildStringMatcher } from "./matcher.ts";

const ACTIONS = ["ALLOW", "DENY", "LOG"] as const;
const CONTINUOUS = 1;
const MAX_PORT_RANGE_END = 65_536;
const NEVER: RbacMatcher = { kind: "never" };
const ANY: RbacMatcher = { kind: "any" };

/** The network filter. */
export function buildNetworkRbac(context: BuildContext, filter: Message): NetworkRbacConfig {
  return {
    statPrefix: filter.text("stat_prefix"),
    shadowStatPrefix: filter.text("shadow_rules_stat_prefix"),
    rules: rules(context, filter.message("rules")),
    shadowRules: rules(context, filter.message("shadow_rules")),
    continuous: filter.number("enforcement_type") === CONTINUOUS,
    delayDenyMs: context.millis(filter, "delay_deny", 0),
  };
}

function rules(context: BuildContext, message: Message | undefined): RbacRules | undefined {
  if (message === undefined) return undefined;
  const policies: { name: string; match: RbacMatcher }[] = [];
  for (const [name, policy] of message.map("policies")) {
    if (typeof policy !== "object" || !("slots" in policy)) continue;
    const permissions = policy.messages("permissions").map((entry) => permission(context, entry));
    const principals = policy.messages("principals").map((entry) => principal(context, entry));
    const match: RbacMatcher = {
      kind: "and",
      of: [
        { kind: "or", of: permissions },
        { kind: "or", of: principals },
      ],
    };
    policies.push({ name, match });
  }
  policies.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  return { action: ACTIONS[message.number("action")] ?? "ALLOW", policies };
}

function permission(context: BuildContext, message: Message): RbacMatcher {
  const kind = message.which("rule");
  switch (kind) {
    case "and_rules":
    case "or_rules":
      return set(context, message, { field: kind, members: "rules", build: permission });
    case "not_rule":
      return not(context, message, { field: kind, build: permission });
    case "any":
      return ANY;
    case "destination_ip":
      return { kind: "ip", whose: "destination", cidr: cidrOf(context, message, kind) };
    case "destination_port": {
      const port = message.number(kind);
      return { kind: "port", start: port, end: port + 1 };
    }
    case "destination_port_range":
      return portRange(context, message, kind);
    case "requested_server_name":
      return withString(context, message, { field: kind, make: (name) => ({ kind: "server_name", name }) });
    case "metadata":
      return metadata(context, message, kind);
    case "header":
    case "url_path":
      return http(context, message, kind);
    default:
      return NEVER;
  }
}

function principal(context: BuildContext, message: Message): RbacMatcher {
  const kind = message.which("identifier");
  switch (kind) {
    case "and_ids":
    case "or_ids":
      return set(context, message, { field: kind, members: "ids", build: principal });
    case "not_id":
      return not(context, message, { field: kind, build: principal });
    case "any":
      return ANY;
    // The older name of the same thing.
    case "source_ip":
    case "remote_ip":
      return { kind: "ip", whose: "remote", cidr: cidrOf(context, message, kind) };
    case "direct_remote_ip":
      return { kind: "ip", whose: "direct_remote", cidr: cidrOf(context, message, kind) };
    case "metadata":
      return metadata(context, message, kind);
    case "filter_state": {
      const state = message.message(kind);
      if (state === undefined) return NEVER;
      const key = state.text("key");
      return withString(context, state, {
        field: "string_match",
        make: (value) => ({ kind: "filter_state", key, value }),
      });
    }
    case "authenticated":
      return authenticated(context, message.message(kind));
    case "header":
    case "url_path":
      return http(context, message, kind);
    default:
      return NEVER;
  }
}

function authenticated(context: BuildContext, message: Message | undefined): RbacMatcher {
  const given = message?.message("principal_name");
  if (given === undefined) return { kind: "authenticated", name: undefined };
  const name = buildStringMatcher(context, given);
  return name === undefined ? NEVER : { kind: "authenticated", name };
}

type Build = (context: BuildContext, message: Message) => RbacMatcher;

function set(
  context: BuildContext,
  message: Message,
  given: { field: string; members: string; build: Build },
): RbacMatcher {
  const members = message.message(given.field)?.messages(given.members) ?? [];
  return {
    kind: given.field.startsWith("and") ? "and" : "or",
    of: members.map((member) => given.build(context, member)),
  };
}

function not(context: BuildContext, message: Message, given: { field: string; build: Build }): RbacMatcher {
  const inner = message.message(given.field);
  return inner === undefined ? NEVER : { kind: "not", of: given.build(context, inner) };
}

/** A connection has no headers: in Envoy such a rule compiles and never matches, which nobody can want. */
function http(context: BuildContext, message: Message, field: string): RbacMatcher {
  context.error(message, field, "rbac", `a network filter sees no HTTP: ${field} would never match`);
  return NEVER;
}

function cidrOf(context: BuildContext, message: Message, field: string): string {
  const range = message.message(field);
  return range === undefined ? "" : buildCidr(context, range);
}

function portRange(context: BuildContext, message: Message, field: string): RbacMatcher {
  const range = message.message(field);
  const start = range?.number("start") ?? 0;
  const end = range?.number("end") ?? 0;
  if (start < 0 || end > MAX_PORT_RANGE_END || start >= end)
    context.error(
      message,
      field,
      "rbac",
      `a port range goes from start to below end, within 0 and ${MAX_PORT_RANGE_END}`,
    );
  return { kind: "port", start, end };
}

function withString(
  context: BuildContext,
  message: Message,
  given: { field: string; make: (matcher: StringMatcher) => RbacMatcher },
): RbacMatcher {
  const inner = message.message(given.field);
  const matcher = inner === undefined ? undefined : buildStringMatcher(context, inner);
  return matcher === undefined ? NEVER : given.make(matcher);
}

function metadata(context: BuildContext, message: Message, field: string): RbacMatcher {
  const matcher = message.message(field);
  const value = matcher?.message("value");
  if (matcher === undefined || value === undefined) return NEVER;
  return { kind: "metadata", metadata: metadataMatcher(context, matcher, value) };
}

function metadataMatcher(context: BuildContext, matcher: Message, value: Message): MetadataMatcher {
  return {
    namespace: matcher.text("filter"),
    path: matcher.messages("path").map((segment) => segment.text("key")),
    value: valueMatcher(context, value),
    invert: matcher.flag("invert"),
  };
}

function valueMatcher(context: BuildContext, message: Message): ValueMatcher {
  const kind = message.which("match_pattern");
  switch (kind) {
    case "null_match":
      return { kind: "null" };
    case "bool_match":
      return { kind: "bool", value: message.flag(kind) };
    case "double_match":
      return doubleMatcher(message.message(kind));
    case "string_match": {
      const inner = message.message(kind);
      const string = inner === undefined ? undefined : buildStringMatcher(context, inner);
      return string === undefined ? { kind: "or", of: [] } : { kind: "string", string };
    }
    case "list_match": {
      const inner = message.message(kind)?.message("one_of");
      return inner === undefined ? { kind: "or", of: [] } : { kind: "one_of", value: valueMatcher(context, inner) };
    }
    case "or_match": {
      const members = message.message(kind)?.messages("value_matchers") ?? [];
      return { kind: "or", of: members.map((member) => valueMatcher(context, member)) };
    }
    default:
      return { kind: "present", value: kind === "present_match" && message.flag(kind) };
  }
}

function doubleMatcher(message: Message | undefined): ValueMatcher {
  const range = message?.message("range");
  if (range !== undefined) return { kind: "double", start: range.number("start"), end: range.number("end") };
  const exact = message?.number("exact") ?? 0;
  return { kind: "double", start: exact, end: exact };
}
