/**
 * Which exports a module needs. The SDK's exports.ts has all of them; a filter keeps those whose method one
 * of its classes overrides, so that a host can read the filter's kind off its exports.
 */
import type { Program } from "assemblyscript/dist/assemblyscript.js";

/** Exports by the method that has to be overridden. */
const BY_METHOD: Readonly<Record<string, string>> = {
  onRequestHeaders: "proxy_on_request_headers",
  onRequestBody: "proxy_on_request_body",
  onRequestTrailers: "proxy_on_request_trailers",
  onResponseHeaders: "proxy_on_response_headers",
  onResponseBody: "proxy_on_response_body",
  onResponseTrailers: "proxy_on_response_trailers",
  onNewConnection: "proxy_on_new_connection",
  onDownstreamData: "proxy_on_downstream_data",
  onUpstreamData: "proxy_on_upstream_data",
  onDownstreamClose: "proxy_on_downstream_connection_close",
  onUpstreamClose: "proxy_on_upstream_connection_close",
  onTimer: "sluice_on_timer",
  onTick: "proxy_on_tick",
  onQueueReady: "proxy_on_queue_ready",
  onDone: "proxy_on_done",
  onLog: "proxy_on_log",
};
/** Exports by the host functions of which one has to be imported. */
const BY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  proxy_on_http_call_response: ["proxy_http_call"],
  proxy_on_grpc_receive: ["proxy_grpc_call", "proxy_grpc_stream"],
  proxy_on_grpc_close: ["proxy_grpc_call", "proxy_grpc_stream"],
};
/** What every module has. */
const ALWAYS = [
  "memory",
  "_initialize",
  "proxy_abi_version_0_2_1",
  "proxy_on_memory_allocate",
  "malloc",
  "proxy_on_context_create",
  "proxy_on_vm_start",
  "proxy_on_configure",
  "proxy_on_delete",
];
const SDK_CONTEXT = "filters/sdk/context/";
const NETWORK = /^on(?:NewConnection|Downstream|Upstream)/;
const NO_CONNECTION = { pattern: NETWORK, advice: "an HTTP filter sees no connections; extend NetworkFilter" };
/** What a class may not override, and what its author should do instead. */
const REFUSED: Readonly<Record<string, readonly { readonly pattern: RegExp; readonly advice: string }[]>> = {
  DecoderFilter: [
    { pattern: /^onResponse/, advice: "a DecoderFilter sees no responses; extend Filter" },
    NO_CONNECTION,
  ],
  EncoderFilter: [{ pattern: /^onRequest/, advice: "an EncoderFilter sees no requests; extend Filter" }, NO_CONNECTION],
  Filter: [NO_CONNECTION],
  NetworkFilter: [{ pattern: /^on(?:Request|Response)/, advice: "a NetworkFilter sees no HTTP; extend Filter" }],
};

/** A mistake of the filter that the compiler cannot see, with its place. */
export class CallbackMistake extends Error {}

interface ClassElement {
  readonly internalName: string;
  readonly basePrototype?: ClassElement | null;
  readonly instanceMembers?: ReadonlyMap<string, { readonly identifierNode: Identifier }> | null;
}
interface Identifier {
  readonly range: {
    readonly start: number;
    readonly source: { readonly normalizedPath: string; lineAt(position: number): number; columnAt(): number };
  };
}

/** Methods of the SDK's context classes that the program's own classes override. Throws {@link CallbackMistake}. */
export function overriddenMethods(program: Program): Set<string> {
  const methods = new Set<string>();
  for (const element of program.elementsByDeclaration.values()) {
    const candidate = element as ClassElement;
    const base = contextClass(candidate);
    if (base === undefined) continue;
    for (const [name, member] of candidate.instanceMembers ?? []) {
      if (!(name in BY_METHOD)) continue;
      methods.add(name);
      const refused = REFUSED[base]?.find(({ pattern }) => pattern.test(name));
      if (refused !== undefined) throw new CallbackMistake(`${place(member.identifierNode)}: ${refused.advice}`);
    }
  }
  return methods;
}

/** The SDK class that a class of the filter's extends, directly or not. */
function contextClass(element: ClassElement): string | undefined {
  if (element.internalName.startsWith(SDK_CONTEXT)) return undefined;
  for (let base = element.basePrototype; base; base = base.basePrototype) {
    if (base.internalName.startsWith(SDK_CONTEXT)) return base.internalName.slice(SDK_CONTEXT.length);
  }
  return undefined;
}

function place(node: Identifier): string {
  const { source, start } = node.range;
  const line = source.lineAt(start);
  return `${source.normalizedPath}:${line}:${source.columnAt()}`;
}

/** Names of the exports to keep, given the overridden methods and the functions that the module imports. */
export function keptExports(methods: ReadonlySet<string>, imports: ReadonlySet<string>): Set<string> {
  const kept = new Set(ALWAYS);
  for (const method of methods) kept.add(BY_METHOD[method]!);
  for (const [name, wanted] of Object.entries(BY_IMPORT)) {
    if (wanted.some((host) => imports.has(host))) kept.add(name);
  }
  return kept;
}
