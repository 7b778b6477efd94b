/**
 * Source maps, version 3, as compilers write them for WebAssembly: one line, whose columns are offsets into the file.
 * Our own, since what is needed is one pass over the mappings for a handful of offsets, in bounded memory.
 */
import type { CodePlace, SourceLines, SourcePlace } from "./symbols-lines.ts";

interface Map3 {
  readonly sources: readonly string[];
  readonly mappings: string;
}

/** Base64 digit of a character code; 255 is none. */
const DIGITS = new Uint8Array(128).fill(255);
for (const [n, character] of [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].entries()) {
  DIGITS[character.charCodeAt(0)] = n;
}
const COMMA = 44;
const SEMICOLON = 59;

/** Reads the map once, keeps its mappings as text. Throws an Error when it is no source map. */
export class SourceMapLines implements SourceLines {
  readonly #map: Map3;

  constructor(json: Uint8Array) {
    this.#map = parse(json);
  }

  locate(places: readonly CodePlace[]): (SourcePlace | undefined)[] {
    const found: (Segment | undefined)[] = places.map(() => undefined);
    eachSegment(this.#map.mappings, (segment) => {
      for (const [n, { offset, bodyStart, bodyEnd }] of places.entries()) {
        const { column } = segment;
        if (column < bodyStart || column >= bodyEnd) continue;
        // Code that the compiler made up (a call of abort) has no line; what stands before it has one.
        if (segment.source < 0) continue;
        // The last one up to the offset; in front of all of them (a function's entry), the first behind it.
        if (column <= offset || found[n] === undefined) found[n] = { ...segment };
      }
    });
    return found.map((segment) => this.#place(segment));
  }

  each(use: (offset: number, file: string, line: number) => void): void {
    eachSegment(this.#map.mappings, ({ column, source, line }) => {
      const file = this.#map.sources[source];
      if (file !== undefined && line >= 0) use(column, file, line + 1);
    });
  }

  #place(segment: Segment | undefined): SourcePlace | undefined {
    const file = segment === undefined ? undefined : this.#map.sources[segment.source];
    if (segment === undefined || file === undefined || segment.line < 0) return undefined;
    return { file, line: segment.line + 1, column: segment.sourceColumn + 1 };
  }
}

interface Segment {
  column: number;
  /** Index of the file, -1: the code comes from no source. */
  source: number;
  /** From 0. */
  line: number;
  sourceColumn: number;
}

function parse(json: Uint8Array): Map3 {
  const map: unknown = JSON.parse(
    Buffer.from(json.slice())
      .toString("utf8")
      .replace(/^\)\]\}'[^\n]*\n/, ""),
  );
  if (typeof map !== "object" || map === null) throw new Error("no object");
  const { version, sources, mappings } = map as { version?: unknown; sources?: unknown; mappings?: unknown };
  if (version !== 3) throw new Error("not version 3");
  if (!Array.isArray(sources) || typeof mappings !== "string") throw new Error("no sources or no mappings");
  return { sources: sources.map((source) => (typeof source === "string" ? source : "?")), mappings };
}

/**
 * Calls `use` with each segment of the first line; the object is the same every time.
 * Throws an Error at the first character that does not belong there.
 */
function eachSegment(mappings: string, use: (segment: Readonly<Segment>) => void): void {
  const segment: Segment = { column: 0, source: -1, line: 0, sourceColumn: 0 };
  let source = 0;
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 5) {
      const digit = DIGITS[mappings.charCodeAt(at++)] ?? 255;
      if (digit === 255) break;
      value += (digit & 31) * 2 ** shift;
      if (digit < 32) return value % 2 === 1 ? -Math.floor(value / 2) : value / 2;
    }
    throw new Error("broken mappings");
  };
  const ends = (): boolean => {
    const code = mappings.charCodeAt(at);
    return Number.isNaN(code) || code === COMMA || code === SEMICOLON;
  };
  while (at < mappings.length) {
    const code = mappings.charCodeAt(at);
    if (code === SEMICOLON) return;
    if (code === COMMA) {
      at++;
      continue;
    }
    const step = number();
    if (step < 0) throw new Error("mappings are not in order");
    segment.column += step;
    if (ends()) segment.source = -1;
    else {
      segment.source = source += number();
      segment.line += number();
      segment.sourceColumn += number();
      if (!ends()) number();
      if (!ends()) throw new Error("broken mappings");
    }
    use(segment);
  }
}
