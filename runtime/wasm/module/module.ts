/**
 * From bytes to a compiled module that workers can instantiate: read → check → harden → compile.
 * Runs on the main thread; the result is plain data and a WebAssembly.Module, so it can be posted.
 */
import { createHash } from "node:crypto";
import { ABI_MARKERS, AbiVersion, EXPORTS, HOST_FUNCTIONS } from "../../../abi/functions.ts";
import { ProxyError } from "../../errors.ts";
import { GUEST_MEMORY_BYTES, GUEST_PAGE_BYTES } from "../../limits.ts";
import { Phase } from "../../http/filter.ts";
import { ExternalKind, readModuleBinary } from "./binary.ts";
import type { BinaryImport, ModuleBinary } from "./binary.ts";
import { harden } from "./harden.ts";
import { tableMaximum } from "./section-writer.ts";
import type { Hardened, HardenOptions } from "./hardened.ts";
import { readManifest } from "./manifest.ts";
import type { ModuleManifest } from "./manifest.ts";
import { collectSymbols, customSection } from "./symbols.ts";
import type { ModuleSymbols, ReadBeside } from "./symbols.ts";

/** A table or memory that the module wants to be given. */
export interface ImportedStorage {
  readonly module: string;
  readonly name: string;
  readonly kind: "memory" | "table";
  readonly minimum: number;
  readonly maximum: number;
}

/** A checked, compiled module. Plain data beside the WebAssembly.Module: survives structured clone. */
export interface LoadedModule {
  /** The code is not there yet (absent.ts). */
  readonly absent?: true;
  readonly module: WebAssembly.Module;
  /** Of the bytes as they came, lower-case hexadecimal. */
  readonly sha256: string;
  /** One of abi/functions.ts AbiVersion. */
  readonly abiVersion: number;
  /** Sentences about what is odd in the module, for the log of whoever loads it. */
  readonly warnings: readonly string[];
  /** Names of exported functions that the host knows. */
  readonly exports: readonly string[];
  /** Name of the export that allocates guest memory. */
  readonly allocator: "malloc" | "proxy_on_memory_allocate";
  /** The module had a start section; it is now the export HostExport.START, called first. */
  readonly hasStartSection: boolean;
  readonly hardened: Hardened;
  /** For backtraces. */
  readonly symbols: ModuleSymbols;
  /** What the module says about itself; undefined when it says nothing. */
  readonly manifest: ModuleManifest | undefined;
  readonly storage: readonly ImportedStorage[];
  /** It asks for the configuration of a stream's route by itself (`sluice.get_route_configuration`). */
  readonly asksForRoutes: boolean;
  /** http/filter.ts Phase bits: callbacks that the module exports. */
  readonly phases: number;
  /** Bytes as they came. */
  readonly size: number;
  /** Where the module came from, for people. */
  readonly name: string;
}

const PHASE_EXPORTS: Readonly<Record<string, number>> = {
  proxy_on_request_headers: Phase.REQUEST_HEADERS,
  proxy_on_request_body: Phase.REQUEST_DATA,
  proxy_on_request_trailers: Phase.REQUEST_TRAILERS,
  proxy_on_response_headers: Phase.RESPONSE_HEADERS,
  proxy_on_response_body: Phase.RESPONSE_DATA,
  proxy_on_response_trailers: Phase.RESPONSE_TRAILERS,
  proxy_on_log: Phase.LOG,
};

const ROUTE_QUESTION = "get_route_configuration";
const DEFAULTS: HardenOptions = { memoryPages: GUEST_MEMORY_BYTES / GUEST_PAGE_BYTES };

const hostFunctions = new Map(HOST_FUNCTIONS.map((one) => [`${one.module}.${one.name}`, one]));
const exportTypes = new Map(EXPORTS.map((one) => [one.name, one.types]));
/** Unknown imports that one error names. */
const NAMED_IMPORTS = 20;

/**
 * Reads, checks, hardens and compiles a module. `origin` names it in errors; `readBeside` finds its source map.
 * Throws ProxyError: MODULE_CORRUPTED, MODULE_TOO_LARGE, MODULE_IMPORT, MODULE_EXPORT, MODULE_ABI,
 * MODULE_UNSUPPORTED.
 */
export function loadModule(
  bytes: Uint8Array,
  origin: string,
  options: HardenOptions = DEFAULTS,
  readBeside: ReadBeside = () => undefined,
): LoadedModule {
  try {
    const binary = readModuleBinary(bytes);
    const storage = checkImports(binary.imports);
    const exports = checkExports(binary);
    const abi = abiVersion(binary);
    // Before it is rewritten: each index in it is one of its own then, and never that of something the host adds.
    if (!WebAssembly.validate(bytes)) throw invalid(bytes);
    const { bytes: code, facts, tableRoom } = harden(bytes, binary, options);
    return {
      module: compile(code),
      hardened: facts,
      symbols: collectSymbols(bytes, binary, readBeside),
      manifest: readManifest(customSection(bytes, binary.sections, "sluice.manifest")),
      sha256: createHash("sha256").update(bytes).digest("hex"),
      abiVersion: abi.version,
      warnings: abi.warnings,
      exports,
      allocator: exports.includes("malloc") ? "malloc" : "proxy_on_memory_allocate",
      hasStartSection: binary.startFunction >= 0,
      storage: storage.map((one) => ({
        ...one,
        maximum: one.kind === "table" ? tableMaximum(one, tableRoom) : Math.min(one.maximum, facts.memoryPages),
      })),
      asksForRoutes: binary.imports.some(({ module, name }) => module === "sluice" && name === ROUTE_QUESTION),
      phases: exports.reduce((bits, name) => bits | (PHASE_EXPORTS[name] ?? 0), 0),
      size: bytes.length,
      name: origin,
    };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    const reason = error.message.slice(error.code.length + 2);
    throw new ProxyError(error.code, error.side, `${origin}: ${reason}`, error.cause);
  }
}

/** Why V8 refuses a module that it found invalid: function and offset are in its words. */
function invalid(bytes: Uint8Array): ProxyError {
  try {
    void new WebAssembly.Module(bytes);
    return new ProxyError("MODULE_CORRUPTED", "config", "is not valid");
  } catch (error) {
    return new ProxyError("MODULE_CORRUPTED", "config", `is not valid: ${reasonOf(error)}`, error);
  }
}

/** What hardening adds can push a function over a bound of V8's (7.6 MB of code); nothing else is refused here. */
function compile(code: Uint8Array): WebAssembly.Module {
  try {
    return new WebAssembly.Module(code);
  } catch (error) {
    throw new ProxyError("MODULE_TOO_LARGE", "config", `V8 refuses it with fuel counted: ${reasonOf(error)}`, error);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function checkImports(imports: readonly BinaryImport[]): ImportedStorage[] {
  const storage: ImportedStorage[] = [];
  const unknown: string[] = [];
  for (const { module, name, kind, type, minimum, maximum } of imports) {
    const full = `${module}.${name}`;
    if (kind === ExternalKind.MEMORY || kind === ExternalKind.TABLE) {
      const what = kind === ExternalKind.MEMORY ? "memory" : "table";
      storage.push({ module, name, kind: what, minimum, maximum: maximum ?? Infinity });
      continue;
    }
    if (kind !== ExternalKind.FUNCTION) {
      throw new ProxyError("MODULE_IMPORT", "config", `import ${full}: globals and tags are not provided`);
    }
    const expected = hostFunctions.get(full)?.type;
    if (expected === undefined) unknown.push(full);
    else if (type !== expected) {
      throw new ProxyError("MODULE_IMPORT", "config", `import ${full}: type ${type}, the host's is ${expected}`);
    }
  }
  if (unknown.length > 0) throw unknownImports([...new Set(unknown)]);
  return storage;
}

function unknownImports(names: readonly string[]): ProxyError {
  const more = names.length - NAMED_IMPORTS;
  const list = names.slice(0, NAMED_IMPORTS).join(", ") + (more > 0 ? ` and ${more} more` : "");
  const what = `this host has no such function${names.length === 1 ? "" : "s"}`;
  return new ProxyError("MODULE_IMPORT", "config", `import ${list}: ${what}`);
}

function checkExports(binary: ModuleBinary): string[] {
  const known: string[] = [];
  for (const { name, kind, type } of binary.exports) {
    const types = exportTypes.get(name);
    if (types === undefined || kind !== ExternalKind.FUNCTION) continue;
    if (!types.includes(type)) {
      throw new ProxyError(
        "MODULE_EXPORT",
        "config",
        `bad function signature for export ${name}: ${type}, not ${types.join(" or ")}`,
      );
    }
    known.push(name);
  }
  if (!known.includes("malloc") && !known.includes("proxy_on_memory_allocate")) {
    throw new ProxyError(
      "MODULE_EXPORT",
      "config",
      "exports no allocator: neither malloc nor proxy_on_memory_allocate",
    );
  }
  const hasMemory = binary.exports.some((one) => one.name === "memory" && one.kind === ExternalKind.MEMORY);
  if (!hasMemory) throw new ProxyError("MODULE_EXPORT", "config", "exports no memory of the name memory");
  const taken = binary.exports.find(({ name }) => name.startsWith("sluice_") && name !== "sluice_on_timer");
  if (taken !== undefined) {
    throw new ProxyError("MODULE_EXPORT", "config", `export ${taken.name}: names with sluice_ belong to the host`);
  }
  return known;
}

/** The version that the module says it was made for, or the likely one of the oldest modules, which say none. */
function abiVersion(binary: ModuleBinary): { version: number; warnings: readonly string[] } {
  let stranger: string | undefined;
  for (const { name, kind } of binary.exports) {
    if (kind !== ExternalKind.FUNCTION || !name.startsWith("proxy_abi_version_")) continue;
    const version = ABI_MARKERS[name];
    if (version !== undefined) return { version, warnings: [] };
    stranger ??= name;
  }
  // A fork's marker whose ABI is a superset of 0.2.1; what it lacks here shows as an unknown import.
  if (stranger === "proxy_abi_version_0_2_100") return { version: AbiVersion.V0_2_1, warnings: [] };
  if (stranger !== undefined) {
    const version = stranger.slice("proxy_abi_version_".length).replaceAll("_", ".");
    throw new ProxyError("MODULE_ABI", "config", `ABI version ${version} is unknown`);
  }
  if (!speaksProxyWasm(binary)) {
    throw new ProxyError("MODULE_ABI", "config", "exports no ABI version marker (proxy_abi_version_0_2_1)");
  }
  const old = isFirstVersion(binary);
  const said = `exports no ABI version marker (proxy_abi_version_0_2_1) and is taken for ${old ? "0.1.0" : "0.2.0"}`;
  return { version: old ? AbiVersion.V0_1_0 : AbiVersion.V0_2_0, warnings: [said] };
}

/** Published filters from before the markers exist: they show by what they import and export. */
function speaksProxyWasm({ imports, exports }: ModuleBinary): boolean {
  return (
    exports.some(({ name, kind }) => kind === ExternalKind.FUNCTION && name.startsWith("proxy_on_")) ||
    imports.some(({ module, name }) => module === "env" && name.startsWith("proxy_"))
  );
}

function isFirstVersion({ imports, exports }: ModuleBinary): boolean {
  const shortHeaders = exports.some(
    ({ name, type }) => /^proxy_on_(request|response)_headers$/.test(name) && type === "ii>i",
  );
  return (
    shortHeaders ||
    imports.some(({ module, name }) => hostFunctions.get(`${module}.${name}`)?.versions === AbiVersion.V0_1_0)
  );
}
