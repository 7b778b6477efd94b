/**
 * Reason phrases.
 *
 * API: `reasonOf(status)` → text ("" when none is registered), `statusLine(status, http10)` → line with CR LF.
 */
import { STATUS_CODES } from "node:http";

const lines: string[] = [];
const oldLines: string[] = [];
for (let status = 100; status < 1000; status++) {
  lines[status - 100] = `HTTP/1.1 ${status} ${reasonOf(status)}\r\n`;
  oldLines[status - 100] = `HTTP/1.0 ${status} ${reasonOf(status)}\r\n`;
}

/** The reason phrase of `status`, "" when it has none. */
export function reasonOf(status: number): string {
  return STATUS_CODES[status] ?? "";
}

/** The status line with its CR LF; a status outside 100 … 999 becomes 500. */
export function statusLine(status: number, http10: boolean): string {
  const table = http10 ? oldLines : lines;
  return table[status - 100] ?? table[400]!;
}
