/** `proxy_get_property` and `proxy_set_property`: a path of segments joined by NUL, or by dots when it holds no NUL. */
import * as Status from "../../../abi/status.ts";
import type { ClusterConfig, NodeConfig, PluginConfig } from "../../config/snapshot.ts";
import {
  MAX_FILTER_STATE_BYTES,
  MAX_FILTER_STATE_ENTRIES,
  MAX_REMEMBERED_PATHS,
  MAX_SHARED_KEY_BYTES,
} from "../../limits.ts";
import type { StreamInfo } from "../../observe/stream-info.ts";
import { addressText } from "../../observe/address-text.ts";
import type { Instance } from "../instance/instance.ts";
import { localityMessage, metadataMessage, structMessage } from "../values/metadata-wire.ts";
import { encodePairs } from "../values/pairs.ts";
import { integerValue, jsonValue, textValue, walkJson } from "../values/property-value.ts";
import type { PropertyValue } from "../values/property-value.ts";
import { STREAM_PROPERTIES } from "../values/stream-properties.ts";
import type { StreamFacts } from "../values/stream-properties.ts";
import { payForLook } from "./fields.ts";
import { giveBytes, giveText } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

/** What set_property writes carries this prefix in the filter state. */
export const OWN_PREFIX = "wasm.";
/** Segments of the paths that guests of this thread have asked for: they are few, and the same for each stream. */
const paths = new Map<string, readonly string[]>();

/** Top-level names up to Envoy 1.32, which published filters still use. */
const LEGACY = new Set([
  "node",
  "cluster_name",
  "cluster_metadata",
  "listener_direction",
  "listener_metadata",
  "route_name",
  "route_metadata",
  "upstream_host_metadata",
]);

export function propertyFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  return {
    proxy_get_property(pathAt: number, pathSize: number, pp: number, sp: number): number {
      const call = "proxy_get_property";
      if (!memory.has(pathAt >>> 0, pathSize >>> 0)) return instance.outside(call, "path");
      if (pathSize >>> 0 > MAX_SHARED_KEY_BYTES)
        return instance.refuse(Status.NOT_FOUND, call, "path: too long to exist");
      const facts = instance.effective.facts;
      if (facts !== null) {
        payForLook(instance, facts.requestHeaders);
        payForLook(instance, facts.responseHeaders);
      }
      const value = readProperty(instance, memory.latin1(pathAt >>> 0, pathSize >>> 0));
      if (value === undefined)
        return instance.refuse(Status.NOT_FOUND, call, "path: no such property, or none here and now");
      if (value === null) return instance.refuse(Status.SERIALIZATION_FAILURE, call, "path: the value is null");
      return typeof value === "string"
        ? giveText(instance, call, value, pp >>> 0, sp >>> 0)
        : giveBytes(instance, call, value, pp >>> 0, sp >>> 0);
    },

    proxy_set_property(pathAt: number, pathSize: number, at: number, size: number): number {
      const call = "proxy_set_property";
      if (!memory.has(pathAt >>> 0, pathSize >>> 0)) return instance.outside(call, "path");
      if (!memory.has(at >>> 0, size >>> 0)) return instance.outside(call, "value");
      const facts = instance.effective.facts;
      if (facts === null) return instance.refuse(Status.NOT_FOUND, call, "no stream to keep the value");
      if (pathSize >>> 0 > MAX_SHARED_KEY_BYTES) return instance.refuse(Status.BAD_ARGUMENT, call, "path: too long");
      if (size >>> 0 > MAX_FILTER_STATE_BYTES) return instance.refuse(Status.BAD_ARGUMENT, call, "value: too long");
      const path = memory.latin1(pathAt >>> 0, pathSize >>> 0);
      const name = OWN_PREFIX + path;
      const declared = instance.effective.root?.plugin.declaredProperties.get(path);
      const state = facts.info.stateToWrite(declared?.ofConnection === true);
      if (state.has(name) && declared?.readonly === true)
        return instance.refuse(Status.BAD_ARGUMENT, call, "path: declared readonly, and set already");
      if (state.size >= MAX_FILTER_STATE_ENTRIES && !state.has(name))
        return instance.refuse(Status.BAD_ARGUMENT, call, "path: the stream has too many properties of filters");
      const value = memory.copy(at >>> 0, size >>> 0);
      state.set(name, value);
      facts.acts?.wrote(name, value);
      return Status.OK;
    },
  };
}

function splitPath(path: string): readonly string[] {
  let segments = paths.get(path);
  if (segments === undefined) {
    // One trailing NUL is tolerated: C++ templates have produced it.
    const text = Buffer.from(path, "latin1").toString("utf8");
    const whole = text.endsWith("\0") ? text.slice(0, -1) : text;
    // AssemblyScript filters write `request.path`. Where there are NULs, dots belong to the segments.
    segments = text.includes("\0") ? whole.split("\0") : whole.split(".");
    if (paths.size >= MAX_REMEMBERED_PATHS) paths.clear();
    paths.set(path, segments);
  }
  return segments;
}

/** The value at `path`, whose segments are joined by NUL or dots, for the effective context. */
export function readProperty(instance: Instance, path: string): PropertyValue {
  const context = instance.effective;
  const view = context.facts;
  const segments = splitPath(path);
  const first = segments[0]!;
  if (view !== null) {
    const value = streamProperty(view, path, segments);
    if (value !== NOT_THERE) return value;
  }
  const config = context.root?.plugin.config;
  if (config !== undefined && Object.hasOwn(PLUGIN_PROPERTIES, first)) {
    return textValue(PLUGIN_PROPERTIES[first]!(config));
  }
  if (first === "xds" && segments.length > 1) return xdsProperty(instance, view, segments[1]!, segments.slice(2));
  return LEGACY.has(first) ? xdsProperty(instance, view, first, segments.slice(1)) : undefined;
}

const PLUGIN_PROPERTIES: Readonly<Record<string, (config: PluginConfig) => string>> = {
  plugin_name: (config) => config.name,
  plugin_root_id: (config) => config.rootId,
  plugin_vm_id: (config) => config.vmId,
  // Ours: where a bundled filter's statistics belong, `http.<stat_prefix>.`.
  plugin_stat_prefix: (config) => config.statPrefix,
};

/** The first segment belongs to somebody else. */
const NOT_THERE = Symbol("not a property of streams");

function streamProperty(
  view: StreamFacts,
  path: string,
  segments: readonly string[],
): PropertyValue | typeof NOT_THERE {
  const first = segments[0]!;
  const second = segments[1];
  const group = Object.hasOwn(STREAM_PROPERTIES, first) ? STREAM_PROPERTIES[first]! : undefined;
  if (group !== undefined && second !== undefined && Object.hasOwn(group, second)) {
    return group[second]!(view, segments.slice(2));
  }
  const own = view.info.stateOf(OWN_PREFIX + path);
  if (own !== undefined || group !== undefined) return own;
  if (first === "metadata") return metadataValue(streamMetadata(view), segments.slice(1));
  if (first === "filter_state") return filterState(view, segments.slice(1));
  return first === "connection_id" ? integerValue(view.info.connection.id) : NOT_THERE;
}

function xdsProperty(
  instance: Instance,
  view: StreamFacts | null,
  name: string,
  rest: readonly string[],
): PropertyValue {
  if (name === "node") return nodeValue(instance.facts.environment.node, rest);
  if (name === "listener_direction") return integerValue(instance.effective.root?.plugin.config.direction ?? 0);
  if (view === null) return undefined;
  const metadata = xdsMetadata(view, name);
  if (metadata !== undefined) return metadataValue(metadata, rest);
  if (!Object.hasOwn(XDS_PROPERTIES, name)) return undefined;
  if (view.info.route === null) view.resolveRoute();
  return rest.length === 0 ? XDS_PROPERTIES[name]!(view.info) : undefined;
}

/** Namespaces to their fields. */
export type Metadata = ReadonlyMap<string, unknown>;
const NO_METADATA: Metadata = new Map();

/** Dynamic metadata of a stream. */
export function streamMetadata(view: StreamFacts): Metadata {
  return view.info.dynamicMetadata ?? NO_METADATA;
}

/** Configured metadata by its name below `xds`; undefined when there is none of that name. */
export function xdsMetadata(view: StreamFacts, name: string): Metadata | undefined {
  if (!Object.hasOwn(XDS_METADATA, name)) return undefined;
  if (view.info.route === null) view.resolveRoute();
  return XDS_METADATA[name]!(view.info);
}

/** Hosts that DNS found have none of their own. */
function hostMetadata(cluster: ClusterConfig | null, address: string): Readonly<Record<string, unknown>> {
  return cluster?.endpoints.find((endpoint) => addressText(endpoint.address) === address)?.metadata ?? {};
}

const XDS_METADATA: Readonly<Record<string, (info: StreamInfo) => Metadata | undefined>> = {
  cluster_metadata: ({ cluster }) => (cluster === null ? undefined : new Map(Object.entries(cluster.metadata))),
  route_metadata: ({ route }) => (route === null ? undefined : new Map(Object.entries(route.metadata))),
  virtual_host_metadata: ({ virtualHost }) =>
    virtualHost === null ? undefined : new Map(Object.entries(virtualHost.metadata ?? {})),
  upstream_host_metadata: ({ cluster, upstreamHost }) =>
    upstreamHost === "" ? undefined : new Map(Object.entries(hostMetadata(cluster, upstreamHost))),
  // The snapshot does not carry it.
  listener_metadata: () => NO_METADATA,
};
/** Names of configured metadata. */
export const XDS_METADATA_NAMES: readonly string[] = Object.keys(XDS_METADATA);

const XDS_PROPERTIES: Readonly<Record<string, (info: StreamInfo) => PropertyValue>> = {
  cluster_name: ({ cluster }) => (cluster === null ? undefined : textValue(cluster.name)),
  // Ours: the cluster's name in statistics, `cluster.<this>.`.
  cluster_stat_name: ({ cluster }) => (cluster === null ? undefined : textValue(cluster.statName)),
  route_name: ({ route }) => (route === null ? undefined : textValue(route.name)),
  virtual_host_name: ({ virtualHost }) => (virtualHost === null ? undefined : textValue(virtualHost.name)),
  filter_chain_name: ({ connection }) => textValue(connection.filterChainName),
};

/** envoy.config.core.v3.Metadata: the message, its map of namespaces, one namespace, or a value inside. */
function metadataValue(namespaces: Metadata, rest: readonly string[]): PropertyValue {
  if (rest.length === 0) return metadataMessage(namespaces);
  if (rest[0] !== "filter_metadata") return undefined;
  if (rest.length === 1) {
    const pairs: string[] = [];
    for (const [name, fields] of namespaces)
      pairs.push(Buffer.from(name).latin1Slice(), structMessage(fields).latin1Slice());
    return encodePairs(pairs);
  }
  return jsonValue(walkJson(namespaces.get(rest[1]!), rest.slice(2)));
}

function filterState(view: StreamFacts, rest: readonly string[]): PropertyValue {
  if (rest.length === 1) return view.info.stateOf(rest[0]!);
  const state = view.info.allState();
  if (rest.length > 1 || state.size === 0) return undefined;
  const pairs: string[] = [];
  for (const [name, bytes] of state) pairs.push(Buffer.from(name).latin1Slice(), Buffer.from(bytes).latin1Slice());
  return encodePairs(pairs);
}

function nodeValue(node: NodeConfig, rest: readonly string[]): PropertyValue {
  const [name, field] = rest;
  switch (name) {
    case undefined:
      return node.serialized;
    case "id":
      return textValue(node.id);
    case "cluster":
      return textValue(node.cluster);
    case "metadata":
      return jsonValue(walkJson(node.metadata, rest.slice(1)));
    case "locality":
      if (field === undefined) return localityMessage(node.region, node.zone, node.subZone);
      if (field === "region") return textValue(node.region);
      if (field === "zone") return textValue(node.zone);
      return field === "sub_zone" ? textValue(node.subZone) : undefined;
    default:
      return undefined;
  }
}
