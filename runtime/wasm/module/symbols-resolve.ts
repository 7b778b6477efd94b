/** Names functions of a module and finds the source lines of its code: made at the first failure, then kept. */
import { MAX_REMEMBERED_FRAMES, MAX_SHOWN_NAME } from "../../limits.ts";
import type { LoadedModule } from "./module.ts";
import { functionNames } from "./name-section.ts";
import { DebugLines } from "./symbols-debug-line.ts";
import { demangle } from "./symbols-demangle.ts";
import type { CodePlace, SourceLines, SourcePlace } from "./symbols-lines.ts";
import { SourceMapLines } from "./symbols-source-map.ts";

/** A place in the code of the hardened module. */
export interface GuestFrame {
  /** Index of the function. */
  readonly index: number;
  /** Offset into the hardened module. */
  readonly position: number;
}

export class Resolver {
  /** Why the module's lines cannot be found although it brings some; "" when there is nothing to say. */
  trouble = "";
  readonly #module: LoadedModule;
  #sources: readonly SourceLines[] | undefined;
  readonly #texts = new Map<string, string>();

  constructor(module: LoadedModule) {
    this.#module = module;
  }

  /** True for functions that hardening has added. */
  isHostCode(index: number): boolean {
    const { importedFunctions, bodies } = this.#module.symbols;
    return index >= importedFunctions + bodies.length;
  }

  /** One text per frame: `name (file:line:column)`, or `name (module.wasm:0x1a3)` with the offset in the original. */
  describe(frames: readonly GuestFrame[]): string[] {
    const missing = frames.filter((frame) => !this.#texts.has(key(frame)));
    if (missing.length > 0) {
      if (this.#texts.size + missing.length > MAX_REMEMBERED_FRAMES) this.#texts.clear();
      this.#resolve([...new Map(missing.map((frame) => [key(frame), frame])).values()]);
      // Emptied for lack of room: those found before are looked up again.
      if (frames.some((frame) => !this.#texts.has(key(frame)))) this.#resolve(frames);
    }
    return frames.map((frame) => this.#texts.get(key(frame)) ?? "");
  }

  #resolve(frames: readonly GuestFrame[]): void {
    const { hardened, symbols, name: file } = this.#module;
    const named = symbols.names === undefined ? undefined : functionNames(symbols.names, indices(frames));
    const exported = new Map(symbols.exports);
    const places = frames.map(({ index, position }): CodePlace => {
      const own = index - symbols.importedFunctions;
      const bodyStart = symbols.bodies[own] ?? 0;
      const offset = Math.max(originalOffset(hardened.offsets, position), bodyStart);
      return { offset, bodyStart, bodyEnd: symbols.bodies[own + 1] ?? 0xffff_ffff };
    });
    const lines = this.#locate(places);
    for (const [n, frame] of frames.entries()) {
      const name = named?.get(frame.index) ?? exported.get(frame.index) ?? `function[${frame.index}]`;
      const place =
        placeText(lines[n]) ?? `${file.slice(file.lastIndexOf("/") + 1)}:0x${places[n]!.offset.toString(16)}`;
      this.#texts.set(key(frame), `${shown(demangle(name))} (${shown(place)})`);
    }
  }

  #locate(places: readonly CodePlace[]): (SourcePlace | undefined)[] {
    this.#sources ??= this.#open();
    const found = places.map((): SourcePlace | undefined => undefined);
    for (const source of this.#sources) {
      try {
        for (const [n, place] of source.locate(places).entries()) found[n] ??= place;
      } catch (error) {
        this.#sources = this.#sources.filter((one) => one !== source);
        this.#complain(error);
      }
    }
    return found;
  }

  #open(): SourceLines[] {
    const { sourceMap, lines, lineStrings, codeStart } = this.#module.symbols;
    const sources: SourceLines[] = [];
    if (sourceMap !== undefined) {
      try {
        sources.push(new SourceMapLines(sourceMap));
      } catch (error) {
        this.#complain(error);
      }
    }
    if (lines !== undefined) sources.push(new DebugLines(lines, lineStrings, codeStart));
    return sources;
  }

  #complain(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.trouble = shown(`no lines from the module's source map or debug information: ${reason}`);
  }
}

/** The offset in the original file of code at `position` of the hardened module; of inserted code, where it stands. */
function originalOffset(offsets: Uint32Array, position: number): number {
  let low = 0;
  let high = offsets.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (offsets[2 * middle]! <= position) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return 0;
  const offset = offsets[2 * low - 1]! + position - offsets[2 * low - 2]!;
  const next = offsets[2 * low + 1] ?? offset;
  return Math.min(offset, next);
}

function key({ index, position }: GuestFrame): string {
  return `${index}:${position}`;
}

function indices(frames: readonly GuestFrame[]): Set<number> {
  return new Set(frames.map(({ index }) => index));
}

function placeText(place: SourcePlace | undefined): string | undefined {
  if (place === undefined) return undefined;
  return place.column === 0 ? `${place.file}:${place.line}` : `${place.file}:${place.line}:${place.column}`;
}

/** Text of a guest's making, fit for a line of a log. */
function shown(text: string): string {
  // oxlint-disable-next-line no-control-regex -- that is what must not reach a terminal
  const clean = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "?");
  return clean.length <= MAX_SHOWN_NAME ? clean : `${clean.slice(0, MAX_SHOWN_NAME)}…`;
}
