/** Binding of sockets to the addresses of a listener. */
import { chmodSync, lstatSync, rmSync, unlinkSync } from "node:fs";
import type { ListenOptions, Server } from "node:net";
import type { Address, ListenerConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { addressText, ipPort } from "../observe/address-text.ts";
import {
  descriptorOf,
  duplicate,
  isServedPath,
  listenerOptions,
  listenNatively,
  listenOnPath,
} from "./native-sockets.ts";

/** A bound address, as told to the main thread. */
export interface BoundAddress {
  readonly name: string;
  readonly index: number;
  readonly address: string;
  readonly port: number;
  /** The listening socket, when all workers are to share it; else -1. */
  readonly descriptor: number;
}

/** What a listener's socket is made of besides its configuration. */
export interface BindOptions {
  /** Of `address` and the additional addresses, by number. */
  readonly index: number;
  /** Instead of a configured port 0. */
  readonly givenPort: number;
  /** A listening socket of the process to take part in; undefined: a new one is made. */
  readonly shared: number | undefined;
  /** A listening socket of the process before this one, which becomes this one's; undefined: none. */
  readonly inherited?: number | undefined;
  /** Gets what goes wrong while it is served. */
  readonly log: (level: "warn", message: string) => void;
}

/** True when each worker has a socket of its own; else one is shared. Elsewhere than on Linux it would get every connection. */
export function hasOwnSocket(config: ListenerConfig, address: Address): boolean {
  return address.kind === "ip" && config.reusePort && process.platform === "linux";
}

/** Binds a server to an address of a listener. Rejects with ProxyError BIND_FAILED that names both. */
export function listen(server: Server, address: Address, config: ListenerConfig, options: BindOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: unknown): void => {
      const why = `listener ${config.name}: cannot bind ${addressText(address)}: ${bindReason(cause)}`;
      reject(new ProxyError("BIND_FAILED", "config", why, cause));
    };
    server.once("error", refuse);
    try {
      server.listen(listenOptions(address, config, options), () => {
        try {
          setMode(address);
          server.off("error", refuse);
          resolve();
        } catch (cause) {
          server.close();
          refuse(cause);
        }
      });
    } catch (cause) {
      refuse(cause);
    }
  });
}

/** Gives the file of a unix socket its mode. Throws the error of chmod(2). */
export function setMode(address: Address): void {
  if (address.kind === "pipe" && address.mode > 0 && !address.path.startsWith("@"))
    chmodSync(address.path, address.mode);
}

/** What `listen` takes for a socket that is there already; its published types leave it out. */
interface DescriptorOptions {
  readonly fd: number;
  readonly backlog: number;
}

function listenOptions(
  address: Address,
  config: ListenerConfig,
  options: BindOptions,
): ListenOptions | DescriptorOptions {
  const { backlog } = config;
  if (options.inherited !== undefined) return { fd: options.inherited, backlog };
  if (options.shared !== undefined) return { fd: duplicate(options.shared), backlog };
  if (address.kind === "pipe") {
    const path = pipePath(address.path);
    const native = process.platform === "linux";
    if (!address.path.startsWith("@")) removeStaleSocket(path, native);
    return native ? { fd: listenOnPath(path, backlog), backlog } : { path, backlog };
  }
  const port = address.port === 0 ? options.givenPort : address.port;
  const reusePort = hasOwnSocket(config, address);
  const ipv6Only = address.host.includes(":") && !address.ipv4Compat;
  const native = [
    ...listenerOptions(address.host.includes(":") ? 6 : 4, config.socket),
    ...(config.socket.options[options.index] ?? []),
  ];
  if (native.length === 0) return { host: address.host, port, backlog, reusePort, ipv6Only, exclusive: true };
  return { fd: listenNatively({ ip: address.host, port, backlog, reusePort, ipv6Only, options: native }), backlog };
}

function bindReason(cause: unknown): string {
  // What native sockets refuse has the system's code one level down.
  const { code, message, cause: inner } = cause as NodeJS.ErrnoException & { readonly cause?: { code?: string } };
  const system = cause instanceof ProxyError ? inner?.code : code;
  if (system === "EADDRINUSE") return "the address is in use (another process listens there)";
  if (system === "EACCES") return "permission denied (ports below 1024 need a privilege)";
  if (system === "EPERM") return `${message}: transparent listeners and some socket options need CAP_NET_ADMIN`;
  if (system === "EAFNOSUPPORT") return "this kernel has no addresses of this family (IPv6 may be off)";
  if (system === "EADDRNOTAVAIL") return "this machine has no such address";
  return message;
}

/** A leading `@` names an abstract socket, which Node spells with a NUL. */
function pipePath(path: string): string {
  return path.startsWith("@") ? `\0${path.slice(1)}` : path;
}

/** Which file the socket of an address is; undefined: none. */
export function socketFile(address: Address): number | undefined {
  if (address.kind !== "pipe" || address.path.startsWith("@")) return undefined;
  return lstatSync(address.path, { throwIfNoEntry: false })?.ino;
}

/** Removes the file of a socket that is closed, unless another one has its name by now. */
export function removeSocketFile(address: Address, file: number | undefined): void {
  // Another worker may remove it at the same time.
  if (address.kind === "pipe" && file !== undefined && socketFile(address) === file)
    rmSync(address.path, { force: true });
}

/** A unix socket file outlives its process; only a socket that nobody serves is ever removed, never another file. */
function removeStaleSocket(path: string, native: boolean): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSocket() === true && !(native && isServedPath(path))) unlinkSync(path);
}

/** Where a server is bound. */
export function describe(server: Server, index: number, address: Address, config: ListenerConfig): BoundAddress {
  const bound = server.address();
  const descriptor = hasOwnSocket(config, address) ? -1 : descriptorOf(server);
  const { name } = config;
  if (bound === null || typeof bound === "string")
    return { name, index, address: addressText(address), port: 0, descriptor };
  return { name, index, address: ipPort(bound.address, bound.port), port: bound.port, descriptor };
}
