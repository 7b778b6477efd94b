/**
 * From configuration text to a snapshot, in steps that each report all they find: text → tree → messages →
 * merge → modules' own types → rules → support → cross checks. Nothing right of this room reads anything else.
 */
import { buildAccessLogs } from "./build/access-log.ts";
import { buildAddress } from "./build/address.ts";
import { buildCluster } from "./build/cluster.ts";
import { BuildContext, type BundledFilters } from "./build/context.ts";
import { checkInboundSources } from "./build/inbound-sources.ts";
import { buildListener, checkListeners } from "./build/listener.ts";
import { buildMaxConnections } from "./build/overload.ts";
import { buildNode, type NodeOptions } from "./build/node.ts";
import { buildCodeCache } from "./build/remote-code.ts";
import { buildWasmRuntime } from "./build/wasm-runtime.ts";
import { buildRuntime } from "./build/runtime-layers.ts";
import { Decoder } from "./document/decode.ts";
import { dumpMessage } from "./document/dump.ts";
import { mergeFrom } from "./document/merge.ts";
import type { Message } from "./document/message.ts";
import { parseTree } from "./document/tree.ts";
import { resolvePlugins, type LoadedSchemas } from "./plugin-types.ts";
import { type Problem, Problems, type Source } from "./problem.ts";
import { RuleChecker } from "./rules/check.ts";
import { checkSupport } from "./rules/support.ts";
import { builtInSchema } from "./schema/schema.ts";
import type { AdminConfig, ListenerConfig, Snapshot } from "./snapshot.ts";

export interface LoadOptions extends NodeOptions {
  readonly bundledFilters: BundledFilters;
  /** Envoy's `--allow-unknown-static-fields`: unknown fields are warnings. */
  readonly allowUnknownStaticFields?: boolean | undefined;
  /** Schemas of modules that are not those that the configuration names, by plugin name. */
  readonly loadedSchemas?: LoadedSchemas | undefined;
}

export interface LoadResult {
  /** Deeply frozen; undefined when there are errors. */
  readonly snapshot: Snapshot | undefined;
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
}

const BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap";

/** Loads a bootstrap; later sources are merged over earlier ones as protobuf's MergeFrom does. Never throws on input. */
export function loadBootstrap(sources: readonly Source[], options: LoadOptions): LoadResult {
  const problems = new Problems();
  const schema = builtInSchema();
  const decoder = new Decoder(schema, problems, { allowUnknownFields: options.allowUnknownStaticFields === true });
  let bootstrap: Message | undefined;
  for (const source of sources) {
    const tree = parseTree(source, problems);
    if (tree === undefined) continue;
    const message = decoder.message(schema.expect(BOOTSTRAP), tree, "");
    if (bootstrap === undefined) bootstrap = message;
    else mergeFrom(bootstrap, message);
  }
  let snapshot: Snapshot | undefined;
  if (bootstrap !== undefined) {
    const { schemaOf, typesWanted } = resolvePlugins(bootstrap, decoder.pending, {
      problems,
      schema,
      allowUnknownFields: options.allowUnknownStaticFields === true,
      loaded: options.loadedSchemas ?? new Map(),
    });
    new RuleChecker(problems, schemaOf).message(bootstrap);
    checkSupport(bootstrap, problems);
    snapshot = buildSnapshot(bootstrap, problems, options, typesWanted);
  }
  problems.sort();
  const usable = problems.errors.length === 0 && snapshot !== undefined;
  return { snapshot: usable ? deepFreeze(snapshot) : undefined, errors: problems.errors, warnings: problems.warnings };
}

function buildSnapshot(
  bootstrap: Message,
  problems: Problems,
  options: LoadOptions,
  typesWanted: readonly string[],
): Snapshot {
  const schema = builtInSchema();
  const resources = bootstrap.message("static_resources");
  const clusterMessages = resources?.messages("clusters") ?? [];
  const listenerMessages = resources?.messages("listeners") ?? [];
  const clusters = new Set(clusterMessages.map((cluster) => cluster.text("name")));
  const context = new BuildContext({
    problems,
    schema,
    bundled: options.bundledFilters,
    clusters,
    listeners: listenerMessages.map((listener) => listener.text("name")),
    secrets: resources?.messages("secrets") ?? [],
  });
  checkClusterNames(context, clusterMessages);
  checkListeners(context, listenerMessages);
  checkGrpcServices(context, bootstrap);
  checkInboundSources(context, listenerMessages, clusterMessages);
  const listeners: ListenerConfig[] = [];
  for (const message of listenerMessages) {
    const listener = buildListener(context, message);
    if (listener !== undefined) listeners.push(listener);
  }
  const { plugins, hotLoad, registries, trust } = buildWasmRuntime(context, bootstrap);
  const runtime = buildRuntime(context, bootstrap);
  return {
    node: buildNode(schema, bootstrap, options),
    admin: buildAdmin(context, bootstrap.message("admin")),
    listeners,
    clusters: clusterMessages.map((cluster) => buildCluster(context, cluster)),
    plugins,
    hotLoad,
    typesWanted,
    registries,
    trust,
    codeCache: buildCodeCache(bootstrap),
    maxDownstreamConnections: buildMaxConnections(context, bootstrap, runtime),
    runtime,
    dump: dumpMessage(bootstrap, schema),
  };
}

function buildAdmin(context: BuildContext, admin: Message | undefined): AdminConfig | undefined {
  if (admin === undefined) return undefined;
  const address = buildAddress(context, admin, { field: "address", literal: true });
  const accessLogs = buildAccessLogs(context, admin, "access_log");
  for (const [index, log] of accessLogs.entries())
    if ("plugin" in log)
      context.itemError(admin, "access_log", index, {
        rule: "not-supported",
        text: "plugins run in workers, and the admin interface does not; use a file",
      });
  return address === undefined ? undefined : { address, accessLogs };
}

function checkClusterNames(context: BuildContext, clusters: readonly Message[]): void {
  const names = new Set<string>();
  for (const cluster of clusters) {
    const name = cluster.text("name");
    if (names.has(name)) context.error(cluster, "name", "duplicate", `duplicate cluster name '${name}'`);
    names.add(name);
  }
}

/** Every gRPC service, wherever it stands, must be reached over a cluster that is there. */
function checkGrpcServices(context: BuildContext, message: Message): void {
  if (message.any !== undefined) checkGrpcServices(context, message.any);
  if (message.type.name === "envoy.config.core.v3.GrpcService.EnvoyGrpc") context.cluster(message, "cluster_name");
  for (const { value } of message.slots.values()) {
    const members = Array.isArray(value) ? value : value instanceof Map ? value.values() : [value];
    for (const member of members)
      if (typeof member === "object" && "slots" in member) checkGrpcServices(context, member);
  }
}

/** Freezes a value with everything in it; bytes stay as they are, since typed arrays cannot be frozen. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const member of Object.values(value)) deepFreeze(member);
  return value;
}
