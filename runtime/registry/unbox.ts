/** Finds the module in what was fetched: plain, compressed, or in an archive. */
import { createGunzip, createZstdDecompress, gzipSync } from "node:zlib";
import { basename } from "node:path";
import { MAX_ARTIFACT_BYTES, MAX_MODULE_BYTES } from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { looksLikeTar, readTar, writeTar } from "./tar.ts";

const MAGIC = Buffer.from("\0asm", "latin1");
const GZIP = Buffer.of(0x1f, 0x8b);
const ZSTD = Buffer.of(0x28, 0xb5, 0x2f, 0xfd);

/** The module in `bytes`. Rejects with ProxyError ARTIFACT_CONTENT that says what is there instead, or ARTIFACT_TOO_LARGE. */
export async function unbox(bytes: Uint8Array, what: string): Promise<Buffer> {
  let content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (begins(content, GZIP) || begins(content, ZSTD)) content = await decompress(content, what);
  if (looksLikeTar(content)) content = Buffer.from(moduleOf(content, what));
  checkModule(content, what);
  return content;
}

/** Throws unless the bytes begin like a core WebAssembly module. */
export function checkModule(bytes: Buffer, what: string): void {
  if (bytes.length > MAX_MODULE_BYTES) throw tooLarge(what, MAX_MODULE_BYTES);
  if (!begins(bytes, MAGIC) || bytes.length < 8) throw wrong(what, "it holds no WebAssembly module");
  const version = bytes.readUInt32LE(4);
  if (version === 1) return;
  if (version === 0x1_000d)
    throw wrong(what, "it holds a component, not a core module; Proxy-Wasm filters are core modules");
  throw wrong(what, `it holds a module of the unknown version ${version}`);
}

/** The layer of Istio's layout: `plugin.wasm` in a compressed archive, the same bytes for the same module. */
export function boxAsPlugin(module: Buffer): { readonly layer: Buffer; readonly tar: Buffer } {
  const tar = writeTar([{ name: "plugin.wasm", bytes: module }]);
  const layer = gzipSync(tar, { level: 9 });
  // The operating system that the compressor was built for: the one thing that differs between machines.
  layer[9] = 0xff;
  return { layer, tar };
}

/** Decompresses at most MAX_ARTIFACT_BYTES: a few bytes can stand for gigabytes. */
function decompress(bytes: Buffer, what: string): Promise<Buffer<ArrayBuffer>> {
  return new Promise((resolve, reject) => {
    const stream = begins(bytes, GZIP) ? createGunzip() : createZstdDecompress();
    const pieces: Buffer[] = [];
    let size = 0;
    stream.on("data", (piece: Buffer) => {
      size += piece.length;
      pieces.push(piece);
      if (size > MAX_ARTIFACT_BYTES) stream.destroy(tooLarge(what, MAX_ARTIFACT_BYTES));
    });
    stream.on("error", (cause) =>
      reject(cause instanceof ProxyError ? cause : wrong(what, `it cannot be decompressed: ${cause.message}`)),
    );
    stream.on("end", () => resolve(Buffer.concat(pieces)));
    stream.end(bytes);
  });
}

/** `plugin.wasm`, else the only `.wasm`. */
function moduleOf(archive: Buffer, what: string): Buffer {
  const modules = readTar(archive).filter(({ name }) => name.endsWith(".wasm"));
  const named = modules.find(({ name }) => basename(name) === "plugin.wasm");
  const found = named ?? (modules.length === 1 ? modules[0] : undefined);
  if (found === undefined) {
    throw wrong(
      what,
      modules.length === 0
        ? "its archive holds no .wasm file"
        : "its archive holds more than one .wasm file, and no plugin.wasm",
    );
  }
  return found.bytes;
}

function begins(bytes: Buffer, magic: Buffer): boolean {
  return bytes.subarray(0, magic.length).equals(magic);
}

function wrong(what: string, why: string): ProxyError {
  return new ProxyError("ARTIFACT_CONTENT", "config", `${what}: ${why}`);
}

function tooLarge(what: string, limit: number): ProxyError {
  return new ProxyError("ARTIFACT_TOO_LARGE", "config", `${what}: it has more than ${limit} bytes`);
}
