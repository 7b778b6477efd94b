/**
 * Which exports a module needs. The SDK's exports.ts has all of them; a filter keeps those whose method one
 * of its classes overrides, so that a host can read the filter's kind off its exports.
 */
import type { Program } from "assemblyscript/dist/assemblyscript.js";
import { nearest } from "./nearest.ts";

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

/** A mistake of the filter that the compiler does not see, with its place; null: in the filter as a whole. */
export interface CallbackMistake {
  readonly place: { readonly source: string; readonly line: number; readonly column: number } | null;
  readonly text: string;
}

/** What a program does with the SDK's context classes. */
export interface CallbackSurvey {
  /** Methods that the program's own classes override. */
  readonly methods: ReadonlySet<string>;
  /** It is never called but for its start, and that is all its root contexts want. */
  readonly startsOnly: boolean;
  readonly mistakes: readonly CallbackMistake[];
}

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

const ROOT_METHODS = ["onVmStart", "onConfigure", "createFilter", "onDelete"];
const ROOT_ONLY = /^on(?:Tick|QueueReady|VmStart|Configure|Done|Log|Delete)$/;

/** Looks at all classes that extend the SDK's. */
export function surveyCallbacks(program: Program): CallbackSurvey {
  const methods = new Set<string>();
  const mistakes: CallbackMistake[] = [];
  let stream: CallbackMistake["place"] = null;
  let creates = false;
  let starts = false;
  for (const element of program.elementsByDeclaration.values()) {
    const candidate = element as ClassElement;
    const base = contextClass(candidate);
    if (base === undefined) continue;
    for (const [name, member] of candidate.instanceMembers ?? []) {
      if (name === "createFilter") creates = true;
      else if (name === "onVmStart" || name === "onConfigure") starts = true;
      if (!Object.hasOwn(BY_METHOD, name)) {
        const meant = misspelt(name);
        if (meant !== undefined)
          mistakes.push({
            place: place(member.identifierNode),
            text: `there is no callback ${name}; did you mean ${meant}?`,
          });
        continue;
      }
      methods.add(name);
      if (!ROOT_ONLY.test(name)) stream ??= place(member.identifierNode);
      const refused = REFUSED[base]?.find(({ pattern }) => pattern.test(name));
      if (refused !== undefined) mistakes.push({ place: place(member.identifierNode), text: refused.advice });
    }
  }
  if (stream !== null && !creates && mistakes.length === 0)
    mistakes.push({
      place: stream,
      text: "nobody makes this filter: override createFilter in a class that extends RootContext",
    });
  return { methods, mistakes, startsOnly: methods.size === 0 && starts && !creates };
}

/** A method that is nearly called like a callback, and so was meant to be one: nobody would call it. */
function misspelt(name: string): string | undefined {
  const known = [...Object.keys(BY_METHOD), ...ROOT_METHODS];
  return known.includes(name) || !/^on[A-Z]|^create/.test(name) ? undefined : nearest(name, known);
}

/** What is wrong with a program that has compiled: a proxy would have nothing to call. */
export function missingCalls(program: Program, { methods, startsOnly }: CallbackSurvey): CallbackMistake[] {
  if (!isUsed(program, "filters/sdk/contexts/register")) {
    const text =
      "nothing is registered: end the file with `register((): RootContext => new …)`, the filter's root context";
    return [{ place: null, text }];
  }
  if (methods.size > 0 || startsOnly) return [];
  return [
    {
      place: null,
      text: "the filter overrides no callback, so a proxy would never call it: sluice/filters/sdk/context.ts has all of them",
    },
  ];
}

/** True when the compiled program calls a function or makes an object of a class of that internal name. */
export function isUsed(program: Program, name: string): boolean {
  const element = program.elementsByName.get(name) as
    | { readonly instances?: ReadonlyMap<string, unknown> | null }
    | undefined;
  return (element?.instances?.size ?? 0) > 0;
}

/** Exports of the author's file with names that are the SDK's. */
export function exportMistakes(program: Program, file: string): CallbackMistake[] {
  const exports = program.filesByName.get(file) as
    | { readonly exports?: ReadonlyMap<string, { readonly identifierNode?: Identifier }> | null }
    | undefined;
  return [...(exports?.exports ?? [])]
    .filter(([name]) => /^(?:proxy|sluice)_|^malloc$|^_initialize$/.test(name))
    .map(([name, { identifierNode }]) => ({
      place: identifierNode === undefined ? null : place(identifierNode),
      text: `the SDK exports ${name} itself: extend a filter class, override its method, and leave the export out`,
    }));
}

/** The SDK class that a class of the filter's extends, directly or not. */
function contextClass(element: ClassElement): string | undefined {
  if (element.internalName.startsWith(SDK_CONTEXT)) return undefined;
  const seen = new Set<ClassElement>();
  // Classes that extend each other in a circle are a mistake that the compiler tells later.
  for (let base = element.basePrototype; base && !seen.has(base); base = base.basePrototype) {
    seen.add(base);
    if (base.internalName.startsWith(SDK_CONTEXT)) return base.internalName.slice(SDK_CONTEXT.length);
  }
  return undefined;
}

function place(node: Identifier): CallbackMistake["place"] {
  const { source, start } = node.range;
  const line = source.lineAt(start);
  return { source: source.normalizedPath, line, column: source.columnAt() };
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
