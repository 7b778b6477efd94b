/**
 * Step "harden": rewrites a module once, before it is compiled, so that whatever runs in it stays inside its bounds and
 * its state can be copied. See hardened.ts for what it adds. Indices of the guest's own functions and globals do not
 * move, so its `name` section stays true.
 *
 * Left out of the result: the start section (it becomes an export) and custom sections that only other tools read.
 */
import { EXPORTS } from "../../../abi/functions.ts";
import { ProxyError } from "../../errors.ts";
import { GUEST_PAGE_BYTES, GUEST_STACK_BYTES, MAX_SAVED_GLOBALS } from "../../limits.ts";
import { ExternalKind } from "./binary.ts";
import type { ModuleBinary } from "./binary.ts";
import { ByteWriter } from "./byte-writer.ts";
import { stackWeights } from "./call-graph.ts";
import { rewriteCode } from "./code-rewrite.ts";
import { scanCode } from "./code-scan.ts";
import type { CodeScan } from "./code-facts.ts";
import { allocatorBody, callbackBody, copyBody } from "./host-code.ts";
import type { HostGlobals } from "./host-code.ts";
import { HostExport, isHarmless } from "./hardened.ts";
import type { Hardened, HardenOptions } from "./hardened.ts";
import type { IntList } from "./int-list.ts";
import { readLayout, SectionId } from "./layout.ts";
import { SectionWriter } from "./section-writer.ts";
import { I32, I64, LETTERS, V128, ZERO } from "./value-types.ts";
import type { Layout, Limits } from "./layout.ts";

const ALLOCATORS: ReadonlySet<string> = new Set(["malloc", "proxy_on_memory_allocate"]);
const CALLBACKS: ReadonlySet<string> = new Set(EXPORTS.map(({ name }) => name).filter((name) => !ALLOCATORS.has(name)));

/** Bytes that a frame takes beside its values: return address, instance, spilled registers. */
const FRAME_BYTES = 128;

export interface HardenedModule {
  readonly bytes: Uint8Array;
  readonly facts: Hardened;
  /** Elements that an imported table may grow to, unless it must be that large from the start. */
  readonly tableRoom: number;
}

/** Throws ProxyError MODULE_CORRUPTED, MODULE_TOO_LARGE or MODULE_UNSUPPORTED. */
export function harden(bytes: Uint8Array, binary: ModuleBinary, options: HardenOptions): HardenedModule {
  const layout = readLayout(bytes, binary.sections);
  checkMemory(layout, options);
  return new Hardener(bytes, binary, layout, options).run();
}

function checkMemory({ memory }: Layout, { memoryPages }: HardenOptions): void {
  if (memory === undefined || memory.minimum <= memoryPages) return;
  throw new ProxyError(
    "MODULE_TOO_LARGE",
    "config",
    `begins with ${memory.minimum} pages of memory (64 KiB each), at most ${memoryPages}; the plugin's memory limit can be raised`,
  );
}

class Hardener {
  readonly #bytes: Uint8Array;
  readonly #binary: ModuleBinary;
  readonly #layout: Layout;
  readonly #options: HardenOptions;
  readonly #scan: CodeScan;
  /** Index of each function type by its bytes as text; grows with the types that the host needs. */
  readonly #typeIndex = new Map<string, number>();
  readonly #newTypes: { params: readonly number[]; results: readonly number[] }[] = [];
  /** Type and code of functions that the host adds, in order. */
  readonly #newFunctions: { readonly type: number; readonly code: ByteWriter }[] = [];
  readonly #newExports: { readonly name: string; readonly kind: number; readonly index: number }[] = [];
  readonly #wrapperOf = new Map<number, number>();
  readonly #allocatorOf = new Map<string, number>();
  /** Indices of the guest's globals that can change and be remembered, and of the shadow of the first. */
  readonly #mutable: readonly number[];
  readonly #tooMany: boolean;
  readonly #firstHostGlobal: number;
  readonly #firstShadow: number;

  constructor(bytes: Uint8Array, binary: ModuleBinary, layout: Layout, options: HardenOptions) {
    this.#bytes = bytes;
    this.#binary = binary;
    this.#layout = layout;
    this.#options = options;
    layout.types.forEach((type, index) => {
      const key = typeKey(type.params, type.results);
      if (!this.#typeIndex.has(key)) this.#typeIndex.set(key, index);
    });
    const mutable = layout.globals.flatMap((one, index) => (one.mutable && one.type in ZERO ? [index] : []));
    this.#tooMany = mutable.length > MAX_SAVED_GLOBALS;
    this.#mutable = this.#tooMany ? [] : mutable;
    this.#firstHostGlobal = layout.globals.length;
    this.#firstShadow = this.#firstHostGlobal + HOST_GLOBALS.length;
    this.#scan = this.#scanCode();
  }

  run(): HardenedModule {
    const layout = this.#layout;
    const weights = this.#stackWeights();
    const code = rewriteCode({
      bytes: this.#bytes,
      scan: this.#scan,
      firstFunction: layout.importedFunctions,
      globals: this.#hostGlobals,
      params: this.#ownTypes().map(({ params }) => params.length),
      weights,
      fuel: this.#options.fuel !== "off",
      memoryPages: this.#memoryMaximum(),
      // A guest has one memory, its own or an imported one.
      counters: this.#options.coverage === true && layout.memory !== undefined ? 1 : -1,
      resultBlock: (n) => this.#resultBlock(layout.types[layout.functionTypes[layout.importedFunctions + n]!]!.results),
    });
    this.#addFunctions();
    // Where runs are counted.
    const counterPages = Math.ceil((code.pieces.length * 4) / GUEST_PAGE_BYTES);
    if (counterPages > 0) this.#newExports.push({ name: HostExport.COVERAGE, kind: ExternalKind.MEMORY, index: 1 });
    const { bytes, codeStart } = this.#write(code.code, counterPages);
    const lost = layout.globals.some(({ mutable, type }) => mutable && (!(type in ZERO) || type === V128));
    return {
      bytes,
      facts: {
        globals: this.#mutable.map((index) => LETTERS[layout.globals[index]!.type]!).join(""),
        restorable: !lost && !this.#tooMany,
        memoryPages: this.#memoryMaximum(),
        offsets: sharedOffsets(code.offsets, codeStart),
        ...(counterPages > 0 ? { pieces: code.pieces.shared() } : {}),
      },
      tableRoom: layout.tableRoom,
    };
  }

  // ---- code -----------------------------------------------------------------------------------

  #scanCode(): CodeScan {
    const layout = this.#layout;
    const section = layout.sections.get(SectionId.CODE);
    const none = { start: 0, end: 1, bytes: Uint8Array.of(0) };
    const { start, end, bytes } = section === undefined ? none : { ...section, bytes: this.#bytes };
    return scanCode({
      bytes,
      start,
      end,
      types: layout.types.map(({ params, results }) => ({ params: params.length, results: results.length })),
      functionTypes: layout.functionTypes,
      importedFunctions: layout.importedFunctions,
      harmless: this.#binary.imports
        .filter(({ kind }) => kind === ExternalKind.FUNCTION)
        .map(({ module, name }) => isHarmless(module, name)),
      hostInTable: this.#hostInTable(),
      tags: layout.tags,
      entered: this.#entered(),
      exact: this.#options.fuel === "exact",
    });
  }

  /** Functions in tables and globals, exported ones and the one that starts. */
  #entered(): ReadonlySet<number> {
    const { taken, exports } = this.#layout;
    const entered = new Set(taken);
    for (const { kind, index } of exports) if (kind === ExternalKind.FUNCTION) entered.add(index);
    if (this.#binary.startFunction >= 0) entered.add(this.#binary.startFunction);
    return entered;
  }

  /** What is exported may be referred to by code, and so put into a table. */
  #hostInTable(): boolean {
    const { taken, exports, importedFunctions } = this.#layout;
    for (const index of taken) if (index < importedFunctions) return true;
    return exports.some(({ kind, index }) => kind === ExternalKind.FUNCTION && index < importedFunctions);
  }

  /** Types of the module's own functions. */
  #ownTypes(): { readonly params: readonly number[]; readonly results: readonly number[] }[] {
    const { functionTypes, importedFunctions, types } = this.#layout;
    return functionTypes.slice(importedFunctions).map((type) => types[type]!);
  }

  /** Bytes of stack that each function counts for; 0 for those that need not be counted. */
  #stackWeights(): readonly number[] {
    const { functionTypes, importedFunctions, types, taken } = this.#layout;
    const scan = this.#scan;
    if (this.#options.fuel === "off") return scan.functions.map(() => 0);
    const own = this.#ownTypes();
    const frames = scan.functions.map((one, n) => {
      const values = one.locals + own[n]!.params.length + one.height;
      return Math.min(FRAME_BYTES + values * (one.wide ? 16 : 8), GUEST_STACK_BYTES);
    });
    const signatures = new Map<string, number>();
    const signatureOfType = types.map(({ params, results }) => {
      const key = typeKey(params, results);
      const known = signatures.get(key);
      if (known !== undefined) return known;
      signatures.set(key, signatures.size);
      return signatures.size - 1;
    });
    const weights = stackWeights(
      {
        functions: functionTypes.length,
        signatures: functionTypes.map((type) => signatureOfType[type]!),
        signatureCount: signatures.size,
        signatureOfType,
        calls: scan.calls,
        indirectCalls: scan.indirectCalls,
        taken: new Set([...taken, ...scan.taken]),
        frames: [...Array.from({ length: importedFunctions }, () => 0), ...frames],
      },
      GUEST_STACK_BYTES / 2,
    );
    // Where exceptions are caught, the count is brought back to what it was.
    return scan.functions.map((one, n) => weights[importedFunctions + n]! || (one.catches ? frames[n]! : 0));
  }

  #resultBlock(results: readonly number[]): readonly number[] {
    if (results.length === 0) return [0x40];
    if (results.length === 1) return [results[0]!];
    const index = new ByteWriter(8);
    // A block's type is a signed number; types have small indices, so it reads the same unless bit 6 is set.
    index.signed(this.#type([], results));
    return [...index.view()];
  }

  // ---- what the host adds ---------------------------------------------------------------------

  #addFunctions(): void {
    for (const { name, kind, index } of this.#layout.exports) {
      if (kind !== ExternalKind.FUNCTION) continue;
      if (CALLBACKS.has(name)) this.#wrapper(index);
      else if (ALLOCATORS.has(name) && this.#isAllocator(index)) this.#guardAllocator(name, index);
      else continue;
      // Code may take references of what is exported; the export leads elsewhere now.
      if (this.#scan.taken.has(index)) this.#exportFunction(`${HostExport.REFERENCE}${this.#newExports.length}`, index);
    }
    if (this.#binary.startFunction >= 0) {
      const index = this.#wrapper(this.#binary.startFunction);
      this.#newExports.push({ name: HostExport.START, kind: ExternalKind.FUNCTION, index });
    }
    const shadows = this.#mutable.map((global, n) => [global, this.#firstShadow + n] as const);
    this.#mutable.forEach((index, n) => {
      this.#newExports.push({ name: `${HostExport.GLOBAL}${n}`, kind: ExternalKind.GLOBAL, index });
    });
    const save = copyBody(shadows);
    const restore = copyBody(
      shadows.map(([global, shadow]) => [shadow, global]),
      this.#global("FLAGS"),
    );
    this.#exportFunction(HostExport.SAVE, this.#function(this.#type([], []), save));
    this.#exportFunction(HostExport.RESTORE, this.#function(this.#type([], [I32]), restore));
    for (const name of HOST_GLOBALS) {
      this.#newExports.push({ name: HostExport[name], kind: ExternalKind.GLOBAL, index: this.#global(name) });
    }
  }

  /** The loader refuses allocators of another type, but that is not for the rewriter to rely on. */
  #isAllocator(index: number): boolean {
    const type = this.#layout.types[this.#layout.functionTypes[index] ?? -1];
    return type !== undefined && typeKey(type.params, type.results) === ALLOCATOR_TYPE;
  }

  #exportFunction(name: string, index: number): void {
    this.#newExports.push({ name, kind: ExternalKind.FUNCTION, index });
  }

  #function(type: number, code: ByteWriter): number {
    this.#newFunctions.push({ type, code });
    return this.#layout.functionTypes.length + this.#newFunctions.length - 1;
  }

  /** A function that fills the fuel up, calls `index`, and adds up what it used. */
  #wrapper(index: number): number {
    const known = this.#wrapperOf.get(index);
    if (known !== undefined) return known;
    const typeIndex = this.#layout.functionTypes[index];
    if (typeIndex === undefined) throw new ProxyError("MODULE_CORRUPTED", "config", `there is no function ${index}`);
    const body = callbackBody(this.#hostGlobals, this.#layout.types[typeIndex]!.params.length, index);
    const wrapper = this.#function(typeIndex, body);
    this.#wrapperOf.set(index, wrapper);
    return wrapper;
  }

  /** A function that calls an allocator while the guest may not do much else: a host function waits for it. */
  #guardAllocator(name: string, index: number): void {
    const body = allocatorBody(this.#hostGlobals, index);
    this.#allocatorOf.set(name, this.#function(this.#layout.functionTypes[index]!, body));
  }

  #type(params: readonly number[], results: readonly number[]): number {
    const key = typeKey(params, results);
    let index = this.#typeIndex.get(key);
    if (index === undefined) {
      index = this.#layout.types.length + this.#newTypes.length;
      this.#newTypes.push({ params, results });
      this.#typeIndex.set(key, index);
    }
    return index;
  }

  #global(name: (typeof HOST_GLOBALS)[number]): number {
    return this.#firstHostGlobal + HOST_GLOBALS.indexOf(name);
  }

  get #hostGlobals(): HostGlobals {
    return {
      fuel: this.#global("FUEL"),
      budget: this.#global("BUDGET"),
      used: this.#global("USED"),
      stack: this.#global("STACK"),
      flags: this.#global("FLAGS"),
      restricted: this.#global("RESTRICTED"),
    };
  }

  #ownMemory(): Limits | undefined {
    const { memory, sections } = this.#layout;
    if (memory === undefined || !sections.has(SectionId.MEMORY)) return undefined;
    return { minimum: memory.minimum, maximum: this.#memoryMaximum() };
  }

  #memoryMaximum(): number {
    return Math.min(this.#layout.memory?.maximum ?? this.#options.memoryPages, this.#options.memoryPages);
  }

  /** The function that an export of the guest leads to now. */
  #exported(name: string, index: number): number {
    const wrapper = CALLBACKS.has(name) ? this.#wrapperOf.get(index) : this.#allocatorOf.get(name);
    return wrapper ?? index;
  }

  #write(code: ByteWriter, counterPages: number): { readonly bytes: Uint8Array; readonly codeStart: number } {
    const { globals } = this.#layout;
    const writer = new SectionWriter(this.#bytes, this.#binary, this.#layout, {
      types: this.#newTypes,
      functions: this.#newFunctions,
      globals: [
        ...HOST_GLOBALS.map((name) => (name === "USED" ? I64 : I32)),
        ...this.#mutable.map((n) => globals[n]!.type),
      ],
      exports: this.#newExports,
      memory: this.#ownMemory(),
      counterPages,
      exported: (name, index) => this.#exported(name, index),
    });
    return writer.write(code, this.#scan.functions.length);
  }
}

/** Globals of the host's own, in order. */
const HOST_GLOBALS = ["FUEL", "BUDGET", "USED", "STACK", "FLAGS", "RESTRICTED"] as const;

function typeKey(params: readonly number[], results: readonly number[]): string {
  return `${params.join()}>${results.join()}`;
}
const ALLOCATOR_TYPE = typeKey([I32], [I32]);

function sharedOffsets(pairs: IntList, codeStart: number): Uint32Array {
  const offsets = new Uint32Array(new SharedArrayBuffer(pairs.length * 4));
  for (let n = 0; n < pairs.length; n += 2) {
    offsets[n] = pairs.at(n) + codeStart;
    offsets[n + 1] = pairs.at(n + 1);
  }
  return offsets;
}
