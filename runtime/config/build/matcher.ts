/** String, header, query parameter matchers and fractions, shared by routes, access logs and rate limits. */
import type { Message } from "../document/message.ts";
import type { HeaderMatcher, QueryParameterMatcher, RuntimeFraction, StringMatcher } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";

/** envoy.type.matcher.v3.StringMatcher. */
export function buildStringMatcher(context: BuildContext, message: Message): StringMatcher | undefined {
  const kind = message.which("match_pattern");
  const ignoreCase = message.flag("ignore_case");
  if (kind === "custom") context.unsupported(message, "custom", "custom string matchers");
  if (kind === undefined || kind === "custom") return undefined;
  if (kind !== "safe_regex") return { kind: kind as "exact", value: message.text(kind), ignoreCase };
  if (ignoreCase)
    context.error(
      message,
      "ignore_case",
      "matcher",
      "ignore_case does not go with safe_regex; write (?i) in the expression",
    );
  return { kind, value: regexOf(context, message, kind), ignoreCase: false };
}

/** envoy.config.route.v3.HeaderMatcher. */
export function buildHeaderMatcher(context: BuildContext, message: Message): HeaderMatcher {
  return {
    name: context.header(message, "name"),
    matcher: headerMatch(context, message),
    invert: message.flag("invert_match"),
    treatMissingAsEmpty: message.flag("treat_missing_header_as_empty"),
  };
}

/** envoy.config.route.v3.QueryParameterMatcher. */
export function buildQueryParameterMatcher(context: BuildContext, message: Message): QueryParameterMatcher {
  const match = message.message("string_match");
  return { name: message.text("name"), string: match === undefined ? undefined : buildStringMatcher(context, match) };
}

/** envoy.config.core.v3.RuntimeFractionalPercent. */
export function buildRuntimeFraction(message: Message | undefined): RuntimeFraction | undefined {
  if (message === undefined) return undefined;
  return { ...buildFraction(message.message("default_value")), runtimeKey: message.text("runtime_key") };
}

const DENOMINATORS = [100, 10_000, 1_000_000];

/** envoy.type.v3.FractionalPercent; absent is 0 %. */
export function buildFraction(message: Message | undefined): { numerator: number; denominator: number } {
  return {
    numerator: message?.number("numerator") ?? 0,
    denominator: DENOMINATORS[message?.number("denominator") ?? 0] ?? 100,
  };
}

/** The expression of a RegexMatcher in a field. */
export function regexOf(context: BuildContext, owner: Message, field: string): string {
  const matcher = owner.message(field);
  return matcher === undefined ? "" : context.regex(matcher, "regex");
}

function headerMatch(context: BuildContext, message: Message): HeaderMatcher["matcher"] {
  const text = (kind: StringMatcher["kind"], value: string): HeaderMatcher["matcher"] => ({
    kind: "string",
    string: { kind, value, ignoreCase: false },
  });
  const kind = message.which("header_match_specifier");
  switch (kind) {
    case "range_match": {
      const range = message.message(kind);
      return { kind: "range", start: range?.number("start") ?? 0, end: range?.number("end") ?? 0 };
    }
    case "present_match":
      return { kind: "present", present: message.flag(kind) };
    case "string_match": {
      const inner = message.message(kind);
      const string = inner === undefined ? undefined : buildStringMatcher(context, inner);
      return string === undefined ? { kind: "present", present: true } : { kind: "string", string };
    }
    case "exact_match":
      return text("exact", message.text(kind));
    case "prefix_match":
      return text("prefix", message.text(kind));
    case "suffix_match":
      return text("suffix", message.text(kind));
    case "contains_match":
      return text("contains", message.text(kind));
    case "safe_regex_match":
      return text("safe_regex", regexOf(context, message, kind));
    default:
      return { kind: "present", present: true };
  }
}
