/**
 * Makes `descriptors.json` from Envoy's published .proto files and our own additions in `abi/proto`:
 * the message types reachable from the roots we accept, with their validation rules. Run by `npm run bundle`;
 * a test makes it again and compares. The host itself reads only the result, since parsing .proto text at
 * start-up would cost 200 ms.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import protobuf from "protobufjs";

import type { RawField, RawMessage } from "../schema/schema.ts";
import { canonicalRules, mergeRules } from "../schema/rule-shape.ts";

const OURS = join(import.meta.dirname, "../../../abi/proto");
const TARGET = join(import.meta.dirname, "descriptors.json");

/** Files whose types may stand in a configuration, directly or in an Any. */
const ROOT_FILES = [
  "envoy/config/bootstrap/v3/bootstrap.proto",
  "envoy/config/route/v3/route.proto",
  "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
  "envoy/extensions/filters/http/router/v3/router.proto",
  "envoy/extensions/filters/http/fault/v3/fault.proto",
  "envoy/extensions/filters/http/ratelimit/v3/rate_limit.proto",
  "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto",
  "envoy/extensions/filters/http/wasm/v3/wasm.proto",
  "envoy/extensions/filters/network/wasm/v3/wasm.proto",
  "envoy/extensions/filters/network/connection_limit/v3/connection_limit.proto",
  "envoy/extensions/filters/network/direct_response/v3/config.proto",
  "envoy/extensions/filters/network/echo/v3/echo.proto",
  "envoy/extensions/filters/network/rbac/v3/rbac.proto",
  "envoy/extensions/filters/network/sni_cluster/v3/sni_cluster.proto",
  "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
  "envoy/extensions/filters/listener/original_dst/v3/original_dst.proto",
  "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.proto",
  "envoy/extensions/access_loggers/file/v3/file.proto",
  "envoy/extensions/access_loggers/stream/v3/stream.proto",
  "envoy/extensions/access_loggers/wasm/v3/wasm.proto",
  "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
  "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
  "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto",
  "envoy/extensions/transport_sockets/tls/v3/cert.proto",
  "envoy/service/discovery/v3/discovery.proto",
  "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
  "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto",
  "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto",
  "envoy/extensions/request_id/uuid/v3/uuid.proto",
  "envoy/extensions/retry/host/omit_canary_hosts/v3/omit_canary_hosts.proto",
  "envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config.proto",
  "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
  "sluice/v1/wasm_runtime.proto",
  "google/protobuf/descriptor.proto",
  "google/protobuf/empty.proto",
  "google/protobuf/struct.proto",
  "google/protobuf/wrappers.proto",
  "udpa/type/v1/typed_struct.proto",
  "xds/type/v3/typed_struct.proto",
  "validate/validate.proto",
];

const ROOT_TYPES = [
  "envoy.config.bootstrap.v3.Bootstrap",
  "envoy.config.route.v3.RouteConfiguration",
  "envoy.config.route.v3.FilterConfig",
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
  "envoy.extensions.filters.http.router.v3.Router",
  "envoy.extensions.filters.http.fault.v3.HTTPFault",
  "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
  "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
  "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
  "envoy.extensions.filters.http.wasm.v3.Wasm",
  "envoy.extensions.filters.network.wasm.v3.Wasm",
  "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
  "envoy.extensions.filters.network.direct_response.v3.Config",
  "envoy.extensions.filters.network.echo.v3.Echo",
  "envoy.extensions.filters.network.rbac.v3.RBAC",
  "envoy.extensions.filters.network.sni_cluster.v3.SniCluster",
  "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
  "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
  "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
  "envoy.extensions.access_loggers.file.v3.FileAccessLog",
  "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
  "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
  "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog",
  "envoy.extensions.wasm.v3.WasmService",
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
  "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
  "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
  "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
  "envoy.extensions.transport_sockets.tls.v3.Secret",
  "envoy.service.discovery.v3.DiscoveryResponse",
  "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
  "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
  "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
  "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
  "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
  "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate",
  "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig",
  "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
  "sluice.v1.WasmRuntime",
  "google.protobuf.FileDescriptorSet",
  "google.protobuf.Any",
  "google.protobuf.Duration",
  "google.protobuf.Timestamp",
  "google.protobuf.Empty",
  "google.protobuf.Struct",
  "google.protobuf.Value",
  "google.protobuf.ListValue",
  "google.protobuf.DoubleValue",
  "google.protobuf.FloatValue",
  "google.protobuf.Int64Value",
  "google.protobuf.UInt64Value",
  "google.protobuf.Int32Value",
  "google.protobuf.UInt32Value",
  "google.protobuf.BoolValue",
  "google.protobuf.StringValue",
  "google.protobuf.BytesValue",
  "udpa.type.v1.TypedStruct",
  "xds.type.v3.TypedStruct",
  "validate.FieldRules",
];

/** The text of the bundle, one type a line so that a change reads well. */
export function generateBundle(): string {
  const roots = importRoots();
  const base = loadRoot(roots, ROOT_FILES);
  const own = protoFilesBelow(OURS);
  const additions = loadRoot([OURS, ...roots], own);
  const ownTypes = [...typesFrom(additions, OURS)];
  const messages = new Map<string, RawMessage>();
  const enums = new Map<string, Record<string, number>>();
  const pending = [...ROOT_TYPES, ...ownTypes];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (messages.has(name) || enums.has(name)) continue;
    const found = find(base, name) ?? find(additions, name);
    if (found === undefined) throw new Error(`no such type: ${name}`);
    if (found instanceof protobuf.Enum) {
      const added = find(additions, name);
      enums.set(name, { ...found.values, ...(added instanceof protobuf.Enum ? added.values : {}) });
      continue;
    }
    const added = ownTypes.includes(name) ? find(additions, name) : undefined;
    const message = rawMessage(found, added instanceof protobuf.Type ? added : undefined);
    messages.set(name, message);
    for (const field of message.f) pending.push(...typeNames(field.t));
  }
  addRuleExtensions(messages);
  const lines = (map: Map<string, unknown>): string =>
    [...map]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
      .join(",\n");
  const known = knownTypes(roots).filter((name) => !messages.has(name));
  const list = known.map((name) => JSON.stringify(name)).join(",\n");
  return `{"messages":{\n${lines(messages)}\n},"enums":{\n${lines(enums)}\n},"known":[\n${list}\n]}\n`;
}

function importRoots(): string[] {
  const require = createRequire(import.meta.url);
  const deps = join(dirname(require.resolve("@grpc/grpc-js-xds/package.json")), "deps");
  const bundled = dirname(require.resolve("protobufjs/package.json"));
  return [...["envoy-api", "xds", "googleapis", "protoc-gen-validate"].map((name) => join(deps, name)), bundled];
}

function loadRoot(folders: readonly string[], files: readonly string[]): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_from, target) => {
    const folder = folders.find((candidate) => existsSync(join(candidate, target)));
    return folder === undefined ? null : join(folder, target);
  };
  root.loadSync([...files], { keepCase: true });
  root.resolveAll();
  return root;
}

function find(root: protobuf.Root, name: string): protobuf.Type | protobuf.Enum | undefined {
  const found = root.lookup(name);
  return found instanceof protobuf.Type || found instanceof protobuf.Enum ? found : undefined;
}

function protoFilesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".proto"))
    .toSorted();
}

/** Full names of the messages that files of a folder declare. */
function* typesFrom(parent: protobuf.NamespaceBase, folder: string): Generator<string> {
  for (const type of parent.nestedArray) {
    if (type instanceof protobuf.Type && type.filename?.startsWith(folder) === true) yield type.fullName.slice(1);
    if (type instanceof protobuf.Namespace) yield* typesFrom(type, folder);
  }
}

/** Top-level messages of one .proto file, read off its text. */
function typesOfFile(path: string): string[] {
  const text = readFileSync(path, "utf8");
  const name = /^package ([\w.]+);/m.exec(text)?.[1];
  return name === undefined ? [] : [...text.matchAll(/^message (\w+)/gm)].map((match) => `${name}.${match[1]}`);
}

/** Types that exist in Envoy, so that one we do not support gets another answer than a misspelt one. */
function knownTypes(roots: readonly string[]): string[] {
  const envoy = roots[0] ?? "";
  return protoFilesBelow(envoy)
    .filter((file) => /^envoy\/extensions\/|^envoy\/config\/(trace|metrics|ratelimit)\//.test(file))
    .flatMap((file) => typesOfFile(join(envoy, file)))
    .filter((name) => !/\.v\d+(alpha|beta)/.test(name))
    .toSorted();
}

function rawMessage(type: protobuf.Type, addition: protobuf.Type | undefined): RawMessage {
  // Extensions that some file declares stand in the list by their full name.
  const fields = type.fieldsArray.filter(
    (field) => !field.name.startsWith(".") && !isReplaced(field, addition?.fields[field.name]),
  );
  for (const field of addition?.fieldsArray ?? [])
    if (!fields.some((one) => one.name === field.name)) fields.push(field);
  const oneofs = [...type.oneofsArray, ...(addition?.oneofsArray ?? [])].filter((oneof) => !isSynthetic(oneof));
  const required = oneofs.filter((oneof) => flag(oneof, "(validate.required)")).map((oneof) => oneof.name);
  return {
    f: fields.toSorted((a, b) => a.id - b.id).map(rawField),
    ...(required.length > 0 ? { r: [...new Set(required)] } : {}),
    ...(flag(type, "(validate.disabled)") || flag(type, "(validate.ignored)") ? { d: 1 as const } : {}),
  };
}

/** True when Envoy has given a field another message since: then the addition counts. */
function isReplaced(field: protobuf.Field, addition: protobuf.Field | undefined): boolean {
  return addition !== undefined && addition.id === field.id && typeText(addition) !== typeText(field);
}

function rawField(field: protobuf.Field): RawField {
  const oneof = field.partOf !== null && !isSynthetic(field.partOf) ? field.partOf.name : undefined;
  const rules = (field.parsedOptions ?? []).map((option: Record<string, unknown>) => option["(validate.rules)"]);
  const merged = canonicalRules(rules.filter((rule) => rule !== undefined).reduce(mergeRules, {}));
  const presence = field.partOf !== null || (!field.repeated && isProto2(field));
  return {
    n: field.name,
    i: field.id,
    t: typeText(field),
    ...(field.repeated ? { l: 1 as const } : {}),
    ...(oneof === undefined ? {} : { o: oneof }),
    ...(presence && oneof === undefined ? { p: 1 as const } : {}),
    ...(field.options?.["deprecated"] === true ? { d: 1 as const } : {}),
    ...(flag(field, "(udpa.annotations.sensitive)") || flag(field, "debug_redact") ? { s: 1 as const } : {}),
    ...(merged === undefined ? {} : { v: merged }),
  };
}

/** Scalars by name, messages as `.full.Name`, enums as `#full.Name`, maps as `key>value`. */
function typeText(field: protobuf.Field): string {
  const resolved = field.resolvedType;
  const name = resolved?.fullName.slice(1);
  const text = resolved === null ? field.type : `${resolved instanceof protobuf.Enum ? "#" : "."}${name}`;
  return field instanceof protobuf.MapField ? `${field.keyType}>${text}` : text;
}

function typeNames(text: string): string[] {
  const value = text.slice(text.indexOf(">") + 1);
  return value.startsWith(".") || value.startsWith("#") ? [value.slice(1)] : [];
}

function isSynthetic(oneof: protobuf.OneOf): boolean {
  return oneof.fieldsArray.length === 1 && oneof.name === `_${oneof.fieldsArray[0]?.name}`;
}

function isProto2(field: protobuf.Field): boolean {
  return field.parent?.fullName.startsWith(".google.protobuf.") === true
    ? /Descriptor|Options|Uninterpreted|FeatureSet|SourceCode|Generated/.test(field.parent.fullName)
    : field.parent?.fullName.startsWith(".validate.") === true;
}

function flag(object: protobuf.ReflectionObject, name: string): boolean {
  return (
    object.options?.[name] === true ||
    (object.parsedOptions ?? []).some((o: Record<string, unknown>) => o[name] === true)
  );
}

/** The extensions of validate.proto, as fields of the options they extend: number 1071 in all three. */
function addRuleExtensions(messages: Map<string, RawMessage>): void {
  const add = (name: string, field: RawField): void => {
    const message = messages.get(name);
    if (message !== undefined) messages.set(name, { ...message, f: [...message.f, field] });
  };
  add("google.protobuf.FieldOptions", { n: "(validate.rules)", i: 1071, t: ".validate.FieldRules", p: 1 });
  add("google.protobuf.OneofOptions", { n: "(validate.required)", i: 1071, t: "bool", p: 1 });
  add("google.protobuf.MessageOptions", { n: "(validate.disabled)", i: 1071, t: "bool", p: 1 });
  add("google.protobuf.MessageOptions", { n: "(validate.ignored)", i: 1072, t: "bool", p: 1 });
}

if (process.argv[1] === import.meta.filename) writeFileSync(TARGET, generateBundle());
