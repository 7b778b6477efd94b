/** What streams are told apart by: RouteAction.hash_policy, and envoy.type.v3.HashPolicy of tcp_proxy. */
import type { Message } from "../document/message.ts";
import type { ConnectionHashPolicy, GeneratedCookie, HttpHashPolicy } from "../hash-policy-snapshot.ts";
import type { RegexRewrite } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";

/** The policies of a route, in order; undefined for none. */
export function buildHashPolicies(
  context: BuildContext,
  action: Message,
  regexRewrite: (owner: Message, field: string) => RegexRewrite | undefined,
): readonly HttpHashPolicy[] | undefined {
  const policies: HttpHashPolicy[] = [];
  for (const policy of action.messages("hash_policy")) {
    const terminal = policy.flag("terminal");
    const kind = policy.which("policy_specifier");
    const given = kind === undefined ? undefined : policy.message(kind);
    if (given === undefined) continue;
    if (kind === "header")
      policies.push({
        kind,
        name: context.header(given, "header_name"),
        rewrite: regexRewrite(given, "regex_rewrite"),
        terminal,
      });
    else if (kind === "cookie")
      policies.push({ kind, name: given.text("name"), generate: generatedCookie(context, given), terminal });
    else if (kind === "query_parameter") policies.push({ kind, name: given.text("name"), terminal });
    else if (kind === "filter_state") policies.push({ kind, key: given.text("key"), terminal });
    // Without source_ip there is no property to look at, as in Envoy.
    else if (kind === "connection_properties" && given.flag("source_ip"))
      policies.push({ kind: "source_ip", terminal });
  }
  return policies.length === 0 ? undefined : policies;
}

/** The one policy that tcp_proxy may have. */
export function buildConnectionHashPolicy(proxy: Message): ConnectionHashPolicy | undefined {
  const policy = proxy.messages("hash_policy")[0];
  const state = policy?.message("filter_state");
  if (state !== undefined) return { kind: "filter_state", key: state.text("key") };
  return policy?.has("source_ip") === true ? { kind: "source_ip" } : undefined;
}

/** With `ttl`, also one of 0 seconds, downstream gets a cookie. */
function generatedCookie(context: BuildContext, cookie: Message): GeneratedCookie | undefined {
  if (!cookie.has("ttl")) return undefined;
  const attributes = cookie
    .messages("attributes")
    .map((attribute) => ({ name: attribute.text("name"), value: attribute.text("value") }));
  const checked = [
    ["name", cookie.text("name")],
    ["path", cookie.text("path")],
  ] as const;
  for (const [field, text] of checked) {
    // oxlint-disable-next-line no-control-regex -- they would end the field or the cookie
    if (/[\u0000-\u0020\u007f;,"]/.test(text))
      context.error(
        cookie,
        field,
        "cookie",
        `${JSON.stringify(text)} cannot stand in a cookie that is sent downstream`,
      );
  }
  for (const { value } of attributes) {
    if (value.includes(";"))
      context.error(
        cookie,
        "attributes",
        "cookie",
        `${JSON.stringify(value)} cannot stand in an attribute of a cookie`,
      );
  }
  return { ttlSeconds: Math.floor(context.millis(cookie, "ttl", 0) / 1000), path: cookie.text("path"), attributes };
}
