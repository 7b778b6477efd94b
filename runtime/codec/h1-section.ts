/**
 * Finds the end of a section of lines (a head, or trailers) and where its lines end, judging nothing but
 * line ends and control characters. It can stop anywhere and go on, so that a head that comes byte by
 * byte costs no more than one that comes at once, and is judged the same.
 *
 * API: `scanSection(progress, …)` → index after the empty line, or one of the negative `Scan` codes;
 * afterwards `lineEnd(0 … progress.lines - 1)` are the offsets of the CR of each line from the start,
 * and `sectionBytes()` is the section.
 */

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
/** The section under scan: a copy with word access costs far less than reading the socket's memory bytewise. */
let scratch = new Uint8Array(8192);
let words = new Int32Array(scratch.buffer);
/** Bytes copied at first: what follows a head is mostly body. */
const WINDOW = 2048;

/** Offset from the section's start to the CR of line `index`; valid until the next scan. */
export function lineEnd(index: number): number {
  return ends[index]!;
}

/** The section itself at 0, when the scan began at its start and found its end; valid until the next scan. */
export function sectionBytes(): Uint8Array {
  return scratch;
}

/**
 * Scans on from `progress` in the section that starts at `start` of `bytes`, of which bytes up to `end`
 * are there. `maxBytes` counts the empty line too. The line ends are complete only when the scan began at
 * the start of the section: a caller that resumed resets `progress` and scans once more.
 */
export function scanSection(
  progress: Progress,
  bytes: Buffer,
  start: number,
  end: number,
  maxBytes: number,
  maxLines: number,
): number {
  const stop = Math.min(end, start + maxBytes);
  if (maxLines >= ends.length) ends = new Int32Array(maxLines + 1);
  let window = WINDOW;
  const { at, line, lines } = progress;
  for (;;) {
    const base = start + at;
    const limit = Math.min(stop - base, window);
    hold(bytes, base, limit);
    const next = scanWindow(progress, limit, maxLines);
    if (next !== Scan.MORE) return next < 0 ? next : start + next;
    if (base + limit === stop) return end - start >= maxBytes ? Scan.TOO_LARGE : Scan.MORE;
    // Longer than the window: once more from where it began, so that all of it is in one place.
    progress.at = at;
    progress.line = line;
    progress.lines = lines;
    window *= 4;
  }
}

/** Copies `limit` bytes and a NUL behind them, where a scan always stops. */
function hold(bytes: Buffer, base: number, limit: number): void {
  if (limit + 8 > scratch.length) {
    scratch = new Uint8Array((limit + 8192) & ~7);
    words = new Int32Array(scratch.buffer);
  }
  bytes.copy(scratch, 0, base, base + limit);
  scratch[limit] = 0;
}

/** The index of the first control character other than HTAB at or after `from`. */
function controlAt(from: number): number {
  const bytes = scratch;
  let at = from;
  let byte = bytes[at]!;
  while ((at & 3) !== 0 && isLineByte(byte)) byte = bytes[++at]!;
  if ((at & 3) === 0) {
    const all = words;
    let word = at >> 2;
    for (;;) {
      const four = all[word]!;
      const del = four ^ 0x7f7f7f7f;
      // Set in the high bit of each byte below 0x20 or equal to 0x7f (and perhaps of those above one).
      if ((((four - 0x20202020) & ~four) | ((del - 0x01010101) & ~del)) & 0x80808080) break;
      word++;
    }
    at = word << 2;
    byte = bytes[at]!;
  }
  while (isLineByte(byte)) byte = bytes[++at]!;
  return at;
}

function isLineByte(byte: number): boolean {
  return (byte > 31 && byte !== 127) || byte === 9;
}

/** Scans `limit` bytes of scratch, whose first is at offset `progress.at` of the section. Keeps `progress` on MORE. */
function scanWindow(progress: Progress, limit: number, maxLines: number): number {
  const base = progress.at;
  const bytes = scratch;
  let line = progress.line - base;
  let lines = progress.lines;
  let at = 0;
  for (;;) {
    at = controlAt(at);
    if (at >= limit || (at + 1 === limit && bytes[at] === 13)) break;
    if (bytes[at] !== 13) return bytes[at] === 10 ? Scan.TERMINATOR : Scan.CHARACTERS;
    if (bytes[at + 1] !== 10) return Scan.TERMINATOR;
    if (at === line) {
      progress.lines = lines;
      return base + at + 2;
    }
    if (lines === maxLines) return Scan.TOO_MANY;
    ends[lines++] = base + at;
    at += 2;
    line = at;
  }
  progress.at = base + Math.min(at, limit);
  progress.line = base + line;
  progress.lines = lines;
  return Scan.MORE;
}
