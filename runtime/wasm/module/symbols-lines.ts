/** From offsets in a module to lines of its sources: what source maps and DWARF have in common. */

/** Offsets are into the original file. */
export interface CodePlace {
  readonly offset: number;
  /** Of the function that it lies in; what other functions say does not count. */
  readonly bodyStart: number;
  readonly bodyEnd: number;
}

/** Line and column count from 1; column 0: unknown. */
export interface SourcePlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface SourceLines {
  /** One answer per place. Throws an Error when the data turns out to be broken. */
  locate(places: readonly CodePlace[]): (SourcePlace | undefined)[];
  /** Tells each place in the code, by its offset, at which code of another line or column begins. Throws like locate. */
  each(use: (offset: number, file: string, line: number) => void): void;
}
