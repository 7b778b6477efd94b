/** envoy.config.core.v3.ProxyProtocolConfig: what hosts are told of downstream. */
import type { PassedFields, UpstreamProxyProtocol } from "../cluster-snapshot.ts";
import type { Message } from "../document/message.ts";
import type { BuildContext } from "./context.ts";

/** ProxyProtocolConfig.Version by number. */
export const PROXY_VERSIONS = [1, 2] as const;

/** ProxyProtocolPassThroughTLVs of a message that may have one; without it nothing is passed. */
export function passedFields(context: BuildContext, owner: Message): PassedFields {
  const message = owner.message("pass_through_tlvs");
  if (message === undefined) return [];
  return context.enumName(message, "match_type") === "INCLUDE" ? message.numbers("tlv_type") : "all";
}

/** The settings of a ProxyProtocolUpstreamTransport. */
export function buildUpstreamProxyProtocol(context: BuildContext, transport: Message): UpstreamProxyProtocol {
  const config = transport.message("config");
  if (config === undefined) return { version: 1, passed: [], added: [] };
  const version = PROXY_VERSIONS[config.number("version")] ?? 1;
  const fields = ["pass_through_tlvs", "added_tlvs"].filter((field) => config.has(field));
  if (version === 1)
    for (const field of fields) context.warn(config, field, "ignored", "headers of version 1 have no such fields");
  return {
    version,
    passed: passedFields(context, config),
    added: config
      .messages("added_tlvs")
      .map((entry) => ({ type: entry.number("type"), value: entry.bytes("value") ?? new Uint8Array() })),
  };
}
