/**
 * Finds the end of a section of lines (a head, or trailers) and where its lines end, judging nothing but
 * line ends and control characters. It can stop anywhere and go on, so that a head that comes byte by
 * byte costs no more than one that comes at once, and is judged the same.
 *
 * API: `scanSection(progress, …)` → index after the empty line, or one of the negative `Scan` codes;
 * afterwards `lineEnds[0 … progress.lines-1]` hold the offsets of the CR of each line from the start.
 */
import { LINE } from "./h1-chars.ts";

export const Scan = {
  MORE: -1,
  TERMINATOR: -2,
  CHARACTERS: -3,
  TOO_LARGE: -4,
  TOO_MANY: -5,
} as const;

/** How far a section was scanned, as offsets from its start. */
export class Progress {
  at = 0;
  line = 0;
  lines = 0;

  reset(): void {
    this.at = 0;
    this.line = 0;
    this.lines = 0;
  }
}

let ends = new Int32Array(256);

/** Offset from the section's start to the CR of line `index`; valid until the next scan. */
export function lineEnd(index: number): number {
  return ends[index]!;
}

/**
 * Scans on from `progress` in the section that starts at `start` of `bytes`, of which bytes up to `end`
 * are there. `maxBytes` counts the empty line too. The line ends are complete only when the scan began at
 * the start of the section: a caller that resumed resets `progress` and scans once more.
 */
export function scanSection(
  progress: Progress,
  bytes: Uint8Array,
  start: number,
  end: number,
  maxBytes: number,
  maxLines: number,
): number {
  const stop = Math.min(end, start + maxBytes);
  let at = start + progress.at;
  let line = start + progress.line;
  let lines = progress.lines;
  if (maxLines >= ends.length) ends = new Int32Array(maxLines + 1);
  for (;;) {
    while (at < stop && LINE[bytes[at]!] === 1) at++;
    if (at + 1 >= stop && (at >= stop || bytes[at] === 13)) break;
    if (bytes[at] !== 13) return bytes[at] === 10 ? Scan.TERMINATOR : Scan.CHARACTERS;
    if (bytes[at + 1] !== 10) return Scan.TERMINATOR;
    if (at === line) {
      progress.lines = lines;
      return at + 2;
    }
    if (lines === maxLines) return Scan.TOO_MANY;
    ends[lines++] = at - start;
    at += 2;
    line = at;
  }
  progress.at = at - start;
  progress.line = line - start;
  progress.lines = lines;
  return end - start >= maxBytes ? Scan.TOO_LARGE : Scan.MORE;
}
