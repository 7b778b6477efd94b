/** Tar archives (POSIX ustar and pax) in memory: as much as layers with a module need. */
import { MAX_TAR_ENTRIES } from "../limits.ts";
import { ProxyError } from "../errors.ts";

const BLOCK = 512;

export interface TarEntry {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Plain files of an archive. Throws ProxyError ARTIFACT_TAR for what is no archive. */
export function readTar(archive: Buffer): TarEntry[] {
  const entries: TarEntry[] = [];
  let longName: string | undefined;
  let at = 0;
  for (let count = 0; at + BLOCK <= archive.length; count++) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    if (count === MAX_TAR_ENTRIES) throw wrong(`more than ${MAX_TAR_ENTRIES} entries`);
    if (checksum(header) !== octal(header, 148, 8)) throw wrong(`a damaged header at byte ${at}`);
    const size = octal(header, 124, 12);
    // GNU writes sizes of 8 GiB and more in another base, which nothing here can have.
    if (Number.isNaN(size)) throw wrong(`a size that is no octal number at byte ${at}`);
    const end = at + BLOCK + size;
    if (end > archive.length) throw wrong("it ends in the middle of a file");
    const content = archive.subarray(at + BLOCK, end);
    const type = String.fromCharCode(header[156]!);
    at = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    if (type === "x") {
      longName = paxPath(content) ?? longName;
    } else if (type === "L") {
      longName = text(content, 0, content.length);
    } else {
      if (type === "0" || type === "\0") entries.push({ name: longName ?? entryName(header), bytes: content });
      longName = undefined;
    }
  }
  return entries;
}

/** True when the bytes begin like an archive. */
export function looksLikeTar(bytes: Buffer): boolean {
  return bytes.length >= BLOCK && checksum(bytes.subarray(0, BLOCK)) === octal(bytes, 148, 8) && bytes[0] !== 0;
}

/** An archive with these files: the same bytes for the same files. */
export function writeTar(entries: readonly TarEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const { name, bytes } of entries) {
    const header = Buffer.alloc(BLOCK);
    if (Buffer.byteLength(name) > 100) throw new RangeError(`${name}: longer than 100 bytes`);
    header.write(name, 0);
    header.write("0000644\0", 100);
    header.write("0000000\0", 108);
    header.write("0000000\0", 116);
    header.write(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0", 136);
    header.write("0", 156);
    header.write("ustar\x0000", 257);
    header.write(`${checksum(header).toString(8).padStart(6, "0")}\0 `, 148);
    parts.push(header, bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK));
  }
  parts.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(parts);
}

/** Sum of the header's bytes, its own field as spaces. */
function checksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < BLOCK; at++) sum += at >= 148 && at < 156 ? 0x20 : header[at]!;
  return sum;
}

function octal(bytes: Buffer, at: number, size: number): number {
  const digits = text(bytes, at, size).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : digits === "" ? 0 : Number.NaN;
}

function text(bytes: Buffer, at: number, size: number): string {
  const field = bytes.subarray(at, at + size);
  const end = field.indexOf(0);
  return (end < 0 ? field : field.subarray(0, end)).toString("utf8");
}

function entryName(header: Buffer): string {
  const prefix = text(header, 345, 155);
  const name = text(header, 0, 100);
  return prefix === "" || text(header, 257, 5) !== "ustar" ? name : `${prefix}/${name}`;
}

/** `path` of a pax header: records `LENGTH key=value\n`. */
function paxPath(content: Buffer): string | undefined {
  let at = 0;
  while (at < content.length) {
    const space = content.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(content.toString("latin1", at, space));
    if (!Number.isSafeInteger(length) || length <= space - at || at + length > content.length) return undefined;
    const record = content.toString("utf8", space + 1, at + length - 1);
    if (record.startsWith("path=")) return record.slice("path=".length);
    at += length;
  }
  return undefined;
}

function wrong(why: string): ProxyError {
  return new ProxyError("ARTIFACT_TAR", "config", `the archive cannot be read: ${why}`);
}
