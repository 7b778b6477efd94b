/**
 * Rate limit descriptors of a request: what the actions of the route's and the virtual host's RateLimits make
 * of it, as serialized `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor` messages.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { NodeConfig } from "../config/snapshot.ts";
import type { RateLimitAction, RateLimitConfig } from "../config/rate-limit-snapshot.ts";
import { maskIp } from "../observe/ip-mask.ts";
import { compileHeaders, compileQuery } from "../observe/match.ts";
import { queryParameter } from "../observe/query.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { byteText, wireText } from "../observe/wire-text.ts";
import type { ResolvedRoute } from "./route-table.ts";

/** How the virtual host's limits join in: VhRateLimitsOptions of RateLimitPerRoute. */
export const VirtualHostMode = {
  /** Only when the route has none of its own (or includes them explicitly). */
  OVERRIDE: 0,
  INCLUDE: 1,
  IGNORE: 2,
  /** None of route and virtual host: the filter's own limits instead. */
  OWN: 3,
} as const;

interface Request {
  readonly resolved: ResolvedRoute;
  readonly headers: HeaderMap;
  readonly info: StreamInfo;
  readonly node: NodeConfig;
}
/** An encoded entry of a descriptor; "": none, go on; undefined: the whole descriptor does not apply. */
type Entry = string | undefined;
type Step = (request: Request) => Entry;

const NONE: readonly Uint8Array[] = [];
const compiled = new WeakMap<RateLimitConfig, readonly Step[]>();

/** The descriptors of one stage, the route's first. */
export function describeRateLimits(
  resolved: ResolvedRoute,
  stage: number,
  virtualHostMode: number,
  headers: HeaderMap,
  info: StreamInfo,
  node: NodeConfig,
): readonly Uint8Array[] {
  const { action, virtualHost } = resolved;
  if (action.kind !== "route") return NONE;
  const included =
    action.includeVhRateLimits ||
    virtualHostMode === VirtualHostMode.INCLUDE ||
    (virtualHostMode !== VirtualHostMode.IGNORE && action.rateLimits.length === 0);
  if (action.rateLimits.length === 0 && (!included || virtualHost.rateLimits.length === 0)) return NONE;
  const request = { resolved, headers, info, node };
  const descriptors: Uint8Array[] = [];
  describe(action.rateLimits, stage, request, descriptors);
  if (included) describe(virtualHost.rateLimits, stage, request, descriptors);
  return descriptors;
}

/** The descriptors of limits that a filter's own configuration lists: no stages, no keys to switch them off. */
export function describeOwnRateLimits(
  limits: readonly RateLimitConfig[],
  resolved: ResolvedRoute,
  headers: HeaderMap,
  info: StreamInfo,
  node: NodeConfig,
): readonly Uint8Array[] {
  if (resolved.action.kind !== "route") return NONE;
  const request = { resolved, headers, info, node };
  return limits.map((limit) => descriptorOf(limit, request)).filter((descriptor) => descriptor !== undefined);
}

function describe(limits: readonly RateLimitConfig[], stage: number, request: Request, into: Uint8Array[]): void {
  for (const limit of limits) {
    if (limit.stage !== stage || isDisabled(limit, request)) continue;
    const descriptor = descriptorOf(limit, request);
    if (descriptor !== undefined) into.push(descriptor);
  }
}

function isDisabled(limit: RateLimitConfig, { resolved, info }: Request): boolean {
  if (limit.disableKey === "") return false;
  const percent = resolved.runtime[`ratelimit.${limit.disableKey}.http_filter_enabled`];
  return typeof percent === "number" && info.random() * 100 >= percent;
}

function descriptorOf(limit: RateLimitConfig, request: Request): Uint8Array | undefined {
  let steps = compiled.get(limit);
  if (steps === undefined) compiled.set(limit, (steps = limit.actions.map(compileAction)));
  let entries = "";
  for (const step of steps) {
    const entry = step(request);
    if (entry === undefined) return undefined;
    entries += entry;
  }
  if (entries === "") return undefined;
  return Buffer.from(limit.hitsAddend === undefined ? entries : entries + encodeHits(limit.hitsAddend), "latin1");
}

function compileAction(action: RateLimitAction): Step {
  switch (action.kind) {
    case "source_cluster":
      return ({ node }) => encodeEntry("source_cluster", wireText(node.cluster));
    case "destination_cluster":
      return ({ resolved }) => encodeEntry("destination_cluster", wireText(resolved.clusterName));
    case "remote_address":
      return ({ info }) => (info.remoteIp === "" ? undefined : encodeEntry("remote_address", info.remoteIp));
    case "masked_remote_address":
      return ({ info }) => {
        const masked = maskIp(info.remoteIp, action.v4Bits, action.v6Bits);
        return masked === undefined ? undefined : encodeEntry("masked_remote_address", masked);
      };
    case "request_headers": {
      const key = wireText(action.key);
      return ({ headers }) => entryOrSkip(key, headers.joined(action.header), action.skipIfAbsent);
    }
    case "query_parameters": {
      const key = wireText(action.key);
      const parameter = wireText(action.parameter);
      return ({ headers }) =>
        entryOrSkip(key, queryParameter(headers.get(":path") ?? "", parameter), action.skipIfAbsent);
    }
    case "generic_key": {
      const entry = encodeEntry(wireText(action.key), wireText(action.value));
      return () => entry;
    }
    case "header_value_match": {
      const entry = encodeEntry(wireText(action.key), wireText(action.value));
      const test = compileHeaders(action.headers);
      return ({ headers }) => ((test === undefined || test(headers)) === action.expectMatch ? entry : undefined);
    }
    case "query_parameter_value_match": {
      const entry = encodeEntry(wireText(action.key), wireText(action.value));
      const test = compileQuery(action.parameters);
      return ({ headers }) =>
        (test === undefined || test(headers.get(":path") ?? "")) === action.expectMatch ? entry : undefined;
    }
    case "metadata":
      return compileMetadata(action);
  }
}

function compileMetadata(action: Extract<RateLimitAction, { kind: "metadata" }>): Step {
  const [namespace = "", ...keys] = action.path;
  return ({ resolved, info }) => {
    let value: unknown =
      action.source === "DYNAMIC" ? info.dynamicMetadata?.get(namespace) : resolved.route.metadata[namespace];
    for (const key of keys) {
      const held = typeof value === "object" && value !== null && Object.hasOwn(value, key);
      value = held ? (value as Record<string, unknown>)[key] : undefined;
    }
    const text = typeof value === "string" && value !== "" ? value : action.defaultValue;
    return entryOrSkip(wireText(action.key), text === "" ? undefined : wireText(text), action.skipIfAbsent);
  };
}

function entryOrSkip(key: string, value: string | undefined, skipIfAbsent: boolean): Entry {
  if (value !== undefined) return encodeEntry(key, value);
  return skipIfAbsent ? "" : undefined;
}

/** Tags of fields 1 and 2 with a length in front of the content. */
const FIELD_1 = "\u000a";
const FIELD_2 = "\u0012";
const FIELD_3 = "\u001a";
/** Tag of field 1 as a number; numbers here stay below 2^31. */
const VARINT_1 = "\u0008";

/** `entries { key value }` of the descriptor: field 1, holding key as field 1 and value as field 2. Byte strings join cheaply. */
function encodeEntry(key: string, value: string): string {
  return field(FIELD_1, field(FIELD_1, utf8Only(key)) + field(FIELD_2, utf8Only(value)));
}

/** `hits_addend` of the descriptor: a UInt64Value, which holds its number as field 1. */
function encodeHits(hits: number): string {
  return field(FIELD_3, hits === 0 ? "" : VARINT_1 + varint(hits));
}

function field(tag: string, content: string): string {
  return tag + varint(content.length) + content;
}

function varint(value: number): string {
  let left = value;
  let bytes = "";
  for (; left >= 0x80; left >>>= 7) bytes += String.fromCharCode((left & 0x7f) | 0x80);
  return bytes + String.fromCharCode(left);
}

/** Protobuf strings are UTF-8: bytes of a header that are not become U+FFFD. */
function utf8Only(text: string): string {
  const input = byteText(text);
  return typeof input === "string" ? input : wireText(Buffer.from(input).toString("utf8"));
}
