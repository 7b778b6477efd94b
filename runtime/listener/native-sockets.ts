/**
 * What sockets can do and Node does not say: original destinations. The one file with calls into the C library (koffi), which is
 * loaded when the first of them is needed; whoever configures none of this never loads it.
 */
import { createRequire } from "node:module";
import type { Socket } from "node:net";
import { endianness } from "node:os";
import { ProxyError } from "../errors.ts";
import { formatIpv6 } from "../observe/ip-mask.ts";

/** An IP address and a port. */
export interface IpPort {
  readonly ip: string;
  readonly port: number;
}

interface LibC {
  getsockopt(fd: number, level: number, name: number, value: Buffer, length: [number]): number;
}

/** Numbers of Linux: `bits/socket.h`, `linux/netfilter_ipv4.h`, `linux/netfilter_ipv6/ip6_tables.h`. */
const AF_INET = 2;
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SO_ORIGINAL_DST = 80;
/** sockaddr_in6, the larger one. */
const SOCKADDR_BYTES = 28;

let loaded: LibC | ProxyError | null = null;

/** Throws ProxyError NATIVE_SOCKETS where there is no C library to call. */
function libc(): LibC {
  loaded ??= load();
  if (loaded instanceof ProxyError) throw loaded;
  return loaded;
}

function load(): LibC | ProxyError {
  try {
    const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
    // The process itself: whichever C library Node is linked with.
    const library = koffi.load(null);
    return {
      getsockopt: library.func("int getsockopt(int, int, int, _Out_ uint8_t *, _Inout_ uint32_t *)"),
    };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new ProxyError(
      "NATIVE_SOCKETS",
      "internal",
      `this platform (${process.platform} ${process.arch}) gives no access to socket options: ${why}`,
      cause,
    );
  }
}

/** The descriptor of an open socket; -1 when it has none (any more). */
export function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd?: number } | null };
  return handle?.fd ?? -1;
}

/**
 * Where a redirected connection (iptables REDIRECT or DNAT) wanted to go; undefined when it was not redirected.
 * Throws ProxyError NATIVE_SOCKETS where the kernel cannot be asked.
 */
export function originalDestination(fd: number, family: 4 | 6): IpPort | undefined {
  if (process.platform !== "linux")
    throw new ProxyError("NATIVE_SOCKETS", "internal", "original destinations are known on Linux only");
  const address = Buffer.alloc(SOCKADDR_BYTES);
  const failed = libc().getsockopt(fd, family === 4 ? SOL_IP : SOL_IPV6, SO_ORIGINAL_DST, address, [SOCKADDR_BYTES]);
  return failed === 0 ? readSockaddr(address) : undefined;
}

/** struct sockaddr_in or sockaddr_in6 of this machine. */
function readSockaddr(bytes: Buffer): IpPort {
  const family = endianness() === "LE" ? bytes.readUInt16LE(0) : bytes.readUInt16BE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF_INET) return { ip: bytes.subarray(4, 8).join("."), port };
  return { ip: formatIpv6(Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(8 + 2 * at))), port };
}
