/**
 * Properties as the attributes of CEL: the same values, with their types. A look takes steps for what it really costs:
 * a map of a thousand headers is searched from its beginning each time, and texts are copied.
 */
import type { HeaderMap } from "../../../codec/headers.ts";
import { Duration, lazyMap, Timestamp, Uint } from "../../cel/values.ts";
import type { Spend, Value } from "../../cel/values.ts";
import type { Instance } from "../../instance/instance.ts";
import { metadataMessage } from "../../values/metadata-wire.ts";
import type { PropertyValue } from "../../values/property-value.ts";
import { STREAM_PROPERTIES } from "../../values/stream-properties.ts";
import type { StreamFacts } from "../../values/stream-properties.ts";
import { OWN_PREFIX, readProperty, streamMetadata, XDS_METADATA_NAMES, xdsMetadata } from "../properties.ts";
import type { Metadata } from "../properties.ts";

type Kind = "text" | "int" | "uint" | "bool" | "time" | "duration" | "headers";

/** Types of the attributes of a stream; what is not listed is text. */
export const ATTRIBUTE_KINDS: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  request: {
    headers: "headers",
    headers_bytes: "int",
    time: "time",
    duration: "duration",
    size: "int",
    total_size: "int",
  },
  response: {
    code: "int",
    flags: "int",
    grpc_status: "int",
    headers: "headers",
    headers_bytes: "int",
    trailers: "headers",
    size: "int",
    total_size: "int",
    backend_latency: "duration",
  },
  connection: { id: "uint", mtls: "bool" },
  source: { port: "int" },
  destination: { port: "int" },
  upstream: { port: "int", num_endpoints: "uint", request_attempt_count: "uint", cx_pool_ready_duration: "duration" },
};

const NODE_TEXTS = ["id", "cluster"];
const LOCALITY_TEXTS = ["region", "zone", "sub_zone"];
const XDS_TEXTS = ["cluster_name", "route_name", "virtual_host_name", "filter_chain_name"];
const PLUGIN_TEXTS: ReadonlySet<string> = new Set([
  ...["plugin_name", "plugin_root_id", "plugin_vm_id"],
  ...["cluster_name", "route_name"],
]);

/** The attribute `name` for the effective context; undefined when there is none. */
export function attribute(instance: Instance, name: string, spend: Spend): Value | undefined {
  const view = instance.effective.facts;
  if (view !== null) {
    const value = streamAttribute(instance, view, name, spend);
    if (value !== undefined) return value;
  }
  if (PLUGIN_TEXTS.has(name)) return decoded("text", readProperty(instance, name), spend);
  if (name === "xds") {
    const names = ["node", "listener_direction", ...XDS_TEXTS, ...XDS_METADATA_NAMES];
    return lazyMap(
      () => names,
      (one) => xdsAttribute(instance, one, spend),
    );
  }
  return ["node", "listener_direction"].includes(name) || XDS_METADATA_NAMES.includes(name)
    ? xdsAttribute(instance, name, spend)
    : undefined;
}

function streamAttribute(instance: Instance, view: StreamFacts, name: string, spend: Spend): Value | undefined {
  const readers = Object.hasOwn(STREAM_PROPERTIES, name) ? STREAM_PROPERTIES[name] : undefined;
  if (readers !== undefined) {
    const kinds = ATTRIBUTE_KINDS[name] ?? {};
    return lazyMap(
      () => Object.keys(readers),
      (one) => {
        if (!Object.hasOwn(readers, one)) return undefined;
        const kind = Object.hasOwn(kinds, one) ? kinds[one]! : "text";
        return kind === "headers"
          ? headersMap(headersOf(view, name, one), spend)
          : decoded(kind, readers[one]!(view, []), spend);
      },
    );
  }
  const own = view.info.stateOf(OWN_PREFIX + name);
  if (own !== undefined) {
    const text = instance.effective.root?.plugin.declaredProperties.get(name)?.text === true;
    spend(own.length >> 6);
    return text ? Buffer.from(own).toString("utf8") : own;
  }
  if (name === "metadata") return metadataMap(streamMetadata(view), spend);
  if (name === "filter_state") {
    const state = view.info.allState();
    return lazyMap(
      () => state.keys(),
      (one) => state.get(one),
    );
  }
  return name === "connection_id" ? decoded("uint", readProperty(instance, name), spend) : undefined;
}

function headersOf(view: StreamFacts, group: string, name: string): HeaderMap | null {
  if (name === "trailers") return view.responseTrailers;
  return group === "request" ? view.requestHeaders : view.responseHeaders;
}

/** Names are looked up in any case; several values are one, with commas. */
function headersMap(headers: HeaderMap | null, spend: Spend): Value | undefined {
  if (headers === null) return undefined;
  const { list } = headers;
  /** Once somebody goes through all of it. */
  let whole: Map<string, string> | null = null;
  return lazyMap(
    () => {
      spend(list.length >> 3);
      whole ??= joinedFields(list);
      return whole.keys();
    },
    (name) => {
      const key = name.toLowerCase();
      if (whole === null) spend(list.length >> 6);
      return decoded("text", whole === null ? headers.joined(key) : whole.get(key), spend);
    },
  );
}

function joinedFields(list: readonly string[]): Map<string, string> {
  const fields = new Map<string, string>();
  for (let n = 0; n < list.length; n += 2) {
    const before = fields.get(list[n]!);
    fields.set(list[n]!, before === undefined ? list[n + 1]! : `${before},${list[n + 1]!}`);
  }
  return fields;
}

function decoded(kind: Kind, value: PropertyValue, spend: Spend): Value | undefined {
  if (value === undefined || value === null) return value;
  spend(value.length >> 6);
  const bytes = typeof value === "string" ? Buffer.from(value, "latin1") : Buffer.from(value);
  switch (kind) {
    case "int":
      return bytes.readBigInt64LE(0);
    case "uint":
      return new Uint(bytes.readBigUInt64LE(0));
    case "time":
      return new Timestamp(bytes.readBigInt64LE(0));
    case "duration":
      return new Duration(bytes.readBigInt64LE(0));
    case "bool":
      return bytes[0] !== 0;
    default:
      return bytes.toString("utf8");
  }
}

function xdsAttribute(instance: Instance, name: string, spend: Spend): Value | undefined {
  if (name === "node") return nodeMap(instance, spend);
  if (name === "listener_direction") return decoded("int", readProperty(instance, name), spend);
  if (XDS_TEXTS.includes(name)) return decoded("text", readProperty(instance, `xds\0${name}`), spend);
  const view = instance.effective.facts;
  const metadata = view === null ? undefined : xdsMetadata(view, name);
  return metadata === undefined ? undefined : metadataMap(metadata, spend);
}

function nodeMap(instance: Instance, spend: Spend): Value {
  const { node } = instance.facts.environment;
  const text = (name: string): Value | undefined => decoded("text", readProperty(instance, `node\0${name}`), spend);
  return lazyMap(
    () => [...NODE_TEXTS, "metadata", "locality"],
    (name) => {
      if (NODE_TEXTS.includes(name)) return text(name);
      if (name === "metadata") return jsonAttribute(node.metadata, spend);
      if (name !== "locality") return undefined;
      return lazyMap(
        () => LOCALITY_TEXTS,
        (one) => (LOCALITY_TEXTS.includes(one) ? text(`locality\0${one}`) : undefined),
      );
    },
    () => node.serialized,
  );
}

/** envoy.config.core.v3.Metadata: one field, a map of namespaces. */
function metadataMap(namespaces: Metadata, spend: Spend): Value {
  const all = lazyMap(
    () => namespaces.keys(),
    (name) => jsonAttribute(namespaces.get(name), spend),
  );
  return lazyMap(
    () => ["filter_metadata"],
    (name) => (name === "filter_metadata" ? all : undefined),
    () => metadataMessage(namespaces),
  );
}

/** Values of google.protobuf.Struct: every number is a double. */
function jsonAttribute(value: unknown, spend: Spend): Value | undefined {
  if (typeof value !== "object" || value === null) return value as string | number | boolean | null | undefined;
  if (Array.isArray(value)) {
    spend(value.length >> 2);
    return value.map((one: unknown) => jsonAttribute(one, spend) ?? null);
  }
  const fields = value as Readonly<Record<string, unknown>>;
  return lazyMap(
    () => {
      const names = Object.keys(fields);
      spend(names.length >> 2);
      return names;
    },
    (name) => (Object.hasOwn(fields, name) ? jsonAttribute(fields[name], spend) : undefined),
  );
}
