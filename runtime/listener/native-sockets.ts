/**
 * What sockets can do and Node does not say: options, original destinations, binding with options set before,
 * and descriptors that one thread gives to another. All calls of sockets into the C library (koffi) are in this file; it is
 * loaded when the first of them is needed; whoever configures none of this never loads it.
 */
import { createRequire } from "node:module";
import type { Server, Socket } from "node:net";
import { constants, endianness } from "node:os";
import { getSystemErrorMap } from "node:util";
import type { SocketOptionConfig } from "../config/listener-snapshot.ts";
import { ProxyError } from "../errors.ts";
import type { IpPort } from "../observe/address-text.ts";
import { formatIpv6, ipv6Groups } from "../observe/ip-mask.ts";

/** A listening socket to be. */
export interface NativeListener extends IpPort {
  readonly backlog: number;
  readonly reusePort: boolean;
  readonly ipv6Only: boolean;
  readonly options: readonly SocketOptionConfig[];
}

interface LibC {
  fcntl(fd: number, command: number, type: "int", value: number): number;
  close(fd: number): number;
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  listen(fd: number, backlog: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  recv(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  sendmsg(fd: number, message: MessageHeader, flags: number): number;
  recvmsg(fd: number, message: MessageHeader, flags: number): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, length: [number]): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  errno(): number;
}

/** struct msghdr with one struct iovec. */
interface MessageHeader {
  readonly name: null;
  readonly nameLength: number;
  readonly parts: readonly [{ readonly base: Uint8Array; readonly length: number }];
  readonly partCount: number;
  readonly control: Uint8Array;
  readonly controlLength: number;
  readonly flags: number;
}

// Numbers of Linux: bits/socket.h, netinet/in.h, netinet/tcp.h, linux/netfilter_ipv4.h, netfilter_ipv6/ip6_tables.h.
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_IP = 0;
const SOL_SOCKET = 1;
const SOL_TCP = 6;
const SOL_IPV6 = 41;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const SO_PEERCRED = 17;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** struct cmsghdr: a length of pointer size, level and type. */
const CMSG_HEADER_BYTES = 16;
const SO_ORIGINAL_DST = 80;
const IP_BIND_ADDRESS_NO_PORT = 24;
const TCP_FASTOPEN = 23;
const IPV6_V6ONLY = 26;
/** By IP family. */
const IP_FREEBIND = { 4: 15, 6: 78 } as const;
const IP_TRANSPARENT = { 4: 19, 6: 75 } as const;
/** sockaddr_in6, the larger one. */
const SOCKADDR_BYTES = 28;
/** Bytes of a path in sockaddr_un, with the NUL at its end. */
const UNIX_PATH_BYTES = 108;
const LITTLE = endianness() === "LE";

/** fcntl.h. */
const F_DUPFD_CLOEXEC = process.platform === "linux" ? 1030 : 67;

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
    const part = koffi.struct({ base: "void *", length: "size_t" });
    const message = koffi.pointer(
      koffi.struct({
        name: "void *",
        nameLength: "uint32_t",
        parts: koffi.pointer(part),
        partCount: "size_t",
        control: "void *",
        controlLength: "size_t",
        flags: "int",
      }),
    );
    return {
      fcntl: library.func("int fcntl(int, int, ...)"),
      close: library.func("int close(int)"),
      socket: library.func("int socket(int, int, int)"),
      bind: library.func("int bind(int, const uint8_t *, uint32_t)"),
      listen: library.func("int listen(int, int)"),
      connect: library.func("int connect(int, const uint8_t *, uint32_t)"),
      send: library.func("intptr_t send(int, const uint8_t *, size_t, int)"),
      recv: library.func("intptr_t recv(int, _Out_ uint8_t *, size_t, int)"),
      sendmsg: library.func("sendmsg", "intptr_t", ["int", message, "int"]),
      recvmsg: library.func("recvmsg", "intptr_t", ["int", message, "int"]),
      getsockopt: library.func("int getsockopt(int, int, int, _Out_ uint8_t *, _Inout_ uint32_t *)"),
      setsockopt: library.func("int setsockopt(int, int, int, const uint8_t *, uint32_t)"),
      errno: () => koffi.errno(),
    };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return unavailable(`${process.platform} ${process.arch} gives no access to the C library: ${why}`);
  }
}

function unavailable(why: string): ProxyError {
  return new ProxyError("NATIVE_SOCKETS", "internal", why);
}

/** The system's word for what failed last; the cause has its `code`. */
function failed(what: string): ProxyError {
  const number = libc().errno();
  const [code, text] = getSystemErrorMap().get(-number) ?? [`errno ${number}`, ""];
  const message = `${what}: ${code}${text === "" ? "" : ` (${text})`}`;
  return new ProxyError("NATIVE_SOCKETS", "internal", message, { code });
}

function closed(what: string): ProxyError {
  return new ProxyError("NATIVE_SOCKETS", "internal", `${what}: the other side has closed`, { code: "EPIPE" });
}

/** The descriptor of an open socket or server; -1 when it has none (any more). */
export function descriptorOf(socket: Socket | Server): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd?: number } | null };
  return handle?.fd ?? -1;
}

/** Another descriptor of the same socket, which outlives the first and is no child process's. Throws ProxyError NATIVE_SOCKETS. */
export function duplicate(fd: number): number {
  const copy = libc().fcntl(fd, F_DUPFD_CLOEXEC, "int", 0);
  if (copy < 0) throw failed(`cannot duplicate the descriptor ${fd}`);
  return copy;
}

/** Closes a descriptor that nobody else owns. */
export function closeDescriptor(fd: number): void {
  libc().close(fd);
}

/** Throws ProxyError NATIVE_SOCKETS where nobody knows where redirected connections wanted to go. */
export function needOriginalDestinations(): void {
  if (process.platform !== "linux") throw unavailable("original destinations are known on Linux only");
  libc();
}

/**
 * Where a redirected connection (iptables REDIRECT or DNAT) wanted to go; undefined when it was not redirected. Whoever
 * asks has been through {@link needOriginalDestinations}.
 */
export function originalDestination(fd: number, family: 4 | 6): IpPort | undefined {
  const address = Buffer.alloc(SOCKADDR_BYTES);
  const missing = libc().getsockopt(fd, family === 4 ? SOL_IP : SOL_IPV6, SO_ORIGINAL_DST, address, [SOCKADDR_BYTES]);
  return missing === 0 ? readSockaddr(address) : undefined;
}

/** The options that stand for fields of a listener, before those that are given by number. */
export function listenerOptions(
  family: 4 | 6,
  fields: {
    readonly transparent: boolean | undefined;
    readonly freebind: boolean | undefined;
    readonly tcpFastOpenQueueLength: number | undefined;
  },
): SocketOptionConfig[] {
  const level = family === 4 ? SOL_IP : SOL_IPV6;
  const options: SocketOptionConfig[] = [];
  if (fields.transparent !== undefined)
    options.push({ level, name: IP_TRANSPARENT[family], value: Number(fields.transparent), state: "PREBIND" });
  if (fields.freebind !== undefined)
    options.push({ level, name: IP_FREEBIND[family], value: Number(fields.freebind), state: "PREBIND" });
  if (fields.tcpFastOpenQueueLength !== undefined)
    options.push({ level: SOL_TCP, name: TCP_FASTOPEN, value: fields.tcpFastOpenQueueLength, state: "LISTENING" });
  return options;
}

/** A bound, listening socket; its descriptor is the caller's. Throws ProxyError NATIVE_SOCKETS that names what failed. */
export function listenNatively(listener: NativeListener): number {
  if (process.platform !== "linux") throw unavailable("socket options of listeners are known on Linux only");
  const c = libc();
  const v6 = listener.ip.includes(":");
  const fd = c.socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed("socket");
  try {
    setOption(fd, { level: SOL_SOCKET, name: SO_REUSEADDR, value: 1 });
    if (listener.reusePort) setOption(fd, { level: SOL_SOCKET, name: SO_REUSEPORT, value: 1 });
    if (v6) setOption(fd, { level: SOL_IPV6, name: IPV6_V6ONLY, value: Number(listener.ipv6Only) });
    setOptions(fd, listener.options, "PREBIND");
    const address = writeSockaddr(listener);
    if (c.bind(fd, address, address.length) !== 0) throw failed("bind");
    setOptions(fd, listener.options, "BOUND");
    if (c.listen(fd, listener.backlog) !== 0) throw failed("listen");
    setOptions(fd, listener.options, "LISTENING");
    return fd;
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

/**
 * A TCP socket that comes from an address and is not connected yet. Its port is chosen when it connects, so that one port
 * serves any number of destinations, which Node's own `localAddress` takes from all of them. Throws as {@link listenNatively} does.
 */
export function openFrom(ip: string): number {
  const c = libc();
  const fd = c.socket(ip.includes(":") ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed("socket");
  try {
    setOption(fd, { level: SOL_IP, name: IP_BIND_ADDRESS_NO_PORT, value: 1 });
    const address = writeSockaddr({ ip, port: 0 });
    if (c.bind(fd, address, address.length) !== 0) throw failed("bind");
    return fd;
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

/**
 * The same on a unix socket; a path that begins with NUL is an abstract name. A server on it leaves the file alone when
 * it closes, which Node's own would remove under the feet of others. Throws as {@link listenNatively} does.
 */
export function listenOnPath(path: string, backlog: number): number {
  const address = unixAddress(path);
  const c = libc();
  const fd = c.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed("socket");
  let error: ProxyError | null = null;
  if (c.bind(fd, address, address.length) !== 0) error = failed("bind");
  else if (c.listen(fd, backlog) !== 0) error = failed("listen");
  if (error === null) return fd;
  c.close(fd);
  throw error;
}

/** True when a process listens at the path of a unix socket; a file that a dead one left behind refuses. Throws as {@link listenNatively} does. */
export function isServedPath(path: string): boolean {
  const address = unixAddress(path);
  const c = libc();
  const fd = c.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed("socket");
  const connected = c.connect(fd, address, address.length) === 0;
  // EAGAIN: it listens, and has more waiting connections than it may.
  const full = !connected && c.errno() === constants.errno.EAGAIN;
  c.close(fd);
  return connected || full;
}

/** struct sockaddr_un, as long as it is. */
function unixAddress(path: string): Buffer {
  const name = Buffer.from(path);
  if (name.length >= UNIX_PATH_BYTES)
    throw new ProxyError("NATIVE_SOCKETS", "config", `a path has at most ${UNIX_PATH_BYTES - 1} bytes`);
  // An abstract name is as long as the address says, a path ends with NUL.
  const address = Buffer.alloc(2 + name.length + (name[0] === 0 ? 0 : 1));
  if (LITTLE) address.writeUInt16LE(AF_UNIX);
  else address.writeUInt16BE(AF_UNIX);
  name.copy(address, 2);
  return address;
}

/**
 * A connection to a unix socket, whose reads and writes wait, at most `timeoutMs` each. Its descriptor is the caller's.
 * Throws ProxyError NATIVE_SOCKETS; its cause has the system's code.
 */
export function connectOnPath(path: string, timeoutMs: number): number {
  const address = unixAddress(path);
  const c = libc();
  const fd = c.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed("socket");
  try {
    // struct timeval: two numbers of pointer size.
    const time = new BigInt64Array([BigInt(Math.floor(timeoutMs / 1000)), BigInt((timeoutMs % 1000) * 1000)]);
    for (const name of [SO_RCVTIMEO, SO_SNDTIMEO])
      setOption(fd, { level: SOL_SOCKET, name, value: new Uint8Array(time.buffer) });
    if (c.connect(fd, address, address.length) !== 0) throw failed("connect");
    return fd;
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

/** One message to a datagram socket at a path; one that begins with NUL is an abstract name. Throws ProxyError NATIVE_SOCKETS. */
export function sendDatagram(path: string, bytes: Uint8Array): void {
  const address = unixAddress(path);
  const c = libc();
  const fd = c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed("socket");
  try {
    if (c.connect(fd, address, address.length) !== 0) throw failed(`connect to ${path}`);
    send(fd, bytes);
  } finally {
    c.close(fd);
  }
}

/** The user at the other end of a unix socket, when it was connected. Throws ProxyError NATIVE_SOCKETS. */
export function peerUser(fd: number): number {
  // struct ucred: process, user, group.
  return new Int32Array(readOption(fd, SOL_SOCKET, SO_PEERCRED, 12).buffer)[1]!;
}

/** Sends a few bytes over a connection of {@link connectOnPath}. Throws ProxyError NATIVE_SOCKETS. */
export function send(fd: number, bytes: Uint8Array): void {
  if (libc().send(fd, bytes, bytes.length, MSG_NOSIGNAL) !== bytes.length) throw failed("send");
}

/** Exactly that many bytes of a connection of {@link connectOnPath}. Throws ProxyError NATIVE_SOCKETS, also at its end. */
export function receive(fd: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let filled = 0; filled < length;) {
    const got = libc().recv(fd, bytes.subarray(filled), length - filled, 0);
    if (got < 0) throw failed("recv");
    if (got === 0) throw closed("recv");
    filled += got;
  }
  return bytes;
}

/**
 * One byte, and with it descriptors, which stay open here as well (unix(7), SCM_RIGHTS). It never waits: the other
 * side has read all that came before. Throws ProxyError NATIVE_SOCKETS.
 */
export function sendDescriptors(fd: number, descriptors: readonly number[]): void {
  const control = Buffer.alloc(controlBytes(descriptors.length));
  const cells = new Int32Array(control.buffer, control.byteOffset, control.length / 4);
  new BigUint64Array(control.buffer, control.byteOffset, 1)[0] = BigInt(CMSG_HEADER_BYTES + 4 * descriptors.length);
  cells.set([SOL_SOCKET, SCM_RIGHTS, ...descriptors], 2);
  if (libc().sendmsg(fd, header(control), MSG_NOSIGNAL | MSG_DONTWAIT) !== 1) throw failed("sendmsg");
}

/** What {@link sendDescriptors} sent: `count` descriptors, which are the caller's. Throws ProxyError NATIVE_SOCKETS. */
export function receiveDescriptors(fd: number, count: number): number[] {
  const control = Buffer.alloc(controlBytes(count));
  const got = libc().recvmsg(fd, header(control), MSG_CMSG_CLOEXEC);
  if (got < 0) throw failed("recvmsg");
  if (got === 0) throw closed("recvmsg");
  const bytes = Number(new BigUint64Array(control.buffer, control.byteOffset, 1)[0]);
  const [level, type, ...cells] = new Int32Array(control.buffer, control.byteOffset + 8, 2 + count);
  const arrived = level === SOL_SOCKET && type === SCM_RIGHTS ? (bytes - CMSG_HEADER_BYTES) / 4 : 0;
  const descriptors = cells.slice(0, arrived);
  if (arrived === count) return descriptors;
  for (const one of descriptors) closeDescriptor(one);
  throw unavailable(`recvmsg: ${arrived} of ${count} descriptors arrived (the limit of open files may be too low)`);
}

/** Room for one struct cmsghdr with that many descriptors, in whole words. */
function controlBytes(descriptors: number): number {
  return CMSG_HEADER_BYTES + Math.ceil(descriptors / 2) * 8;
}

function header(control: Uint8Array): MessageHeader {
  const parts = [{ base: Buffer.alloc(1), length: 1 }] as const;
  return { name: null, nameLength: 0, parts, partCount: 1, control, controlLength: control.length, flags: 0 };
}

function setOptions(fd: number, options: readonly SocketOptionConfig[], state: SocketOptionConfig["state"]): void {
  for (const option of options) if (option.state === state) setOption(fd, option);
}

function setOption(fd: number, { level, name, value }: Omit<SocketOptionConfig, "state">): void {
  const bytes = typeof value === "number" ? new Uint8Array(new Int32Array([value]).buffer) : value;
  if (libc().setsockopt(fd, level, name, bytes, bytes.length) !== 0)
    throw failed(`setsockopt(level ${level}, name ${name}, value ${String(value)})`);
}

/** An option of a socket as its bytes. Throws ProxyError NATIVE_SOCKETS. */
export function readOption(fd: number, level: number, name: number, bytes: number): Uint8Array {
  const value = new Uint8Array(bytes);
  if (libc().getsockopt(fd, level, name, value, [bytes]) !== 0)
    throw failed(`getsockopt(level ${level}, name ${name})`);
  return value;
}

/** struct sockaddr_in or sockaddr_in6. */
function writeSockaddr({ ip, port }: IpPort): Buffer {
  const v6 = ip.includes(":");
  const bytes = Buffer.alloc(v6 ? SOCKADDR_BYTES : 16);
  const family = v6 ? AF_INET6 : AF_INET;
  if (LITTLE) bytes.writeUInt16LE(family);
  else bytes.writeUInt16BE(family);
  bytes.writeUInt16BE(port, 2);
  if (v6) for (const [at, group] of ipv6Groups(ip).entries()) bytes.writeUInt16BE(group, 8 + 2 * at);
  else bytes.set(ip.split(".").map(Number), 4);
  return bytes;
}

function readSockaddr(bytes: Buffer): IpPort {
  const family = LITTLE ? bytes.readUInt16LE(0) : bytes.readUInt16BE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF_INET) return { ip: bytes.subarray(4, 8).join("."), port };
  return { ip: formatIpv6(Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(8 + 2 * at))), port };
}
