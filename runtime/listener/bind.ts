/** Binding of sockets to the addresses of a listener. */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import type { ListenOptions, Server } from "node:net";
import type { Address, ListenerConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { formatAddress, formatIpPort } from "./address.ts";

/** A bound address, as told to the main thread. */
export interface BoundAddress {
  readonly name: string;
  readonly index: number;
  readonly address: string;
  readonly port: number;
}

/** Binds a server to an address of a listener. Rejects with ProxyError BIND_FAILED that names both. */
export function listen(server: Server, address: Address, givenPort: number, config: ListenerConfig): Promise<void> {
  const options: ListenOptions =
    address.kind === "pipe"
      ? { path: pipePath(address.path), backlog: config.backlog }
      : {
          host: address.host,
          port: address.port === 0 ? givenPort : address.port,
          backlog: config.backlog,
          reusePort: config.reusePort,
          ipv6Only: address.host.includes(":") && !address.ipv4Compat,
          exclusive: true,
        };
  return new Promise((resolve, reject) => {
    if (address.kind === "pipe") removeStaleSocket(address.path);
    server.once("error", (cause: NodeJS.ErrnoException) => {
      reject(
        new ProxyError(
          "BIND_FAILED",
          "config",
          `listener ${config.name}: cannot bind ${formatAddress(address)}: ${bindReason(cause)}`,
          cause,
        ),
      );
    });
    server.listen(options, () => {
      if (address.kind === "pipe" && address.mode > 0 && !address.path.startsWith("@"))
        chmodSync(address.path, address.mode);
      resolve();
    });
  });
}

function bindReason(cause: NodeJS.ErrnoException): string {
  if (cause.code === "EADDRINUSE") return "the address is in use (another process listens there)";
  if (cause.code === "EACCES") return "permission denied (ports below 1024 need a privilege)";
  if (cause.code === "EADDRNOTAVAIL") return "this machine has no such address";
  return cause.message;
}

/** A leading `@` names an abstract socket, which Node spells with a NUL. */
function pipePath(path: string): string {
  return path.startsWith("@") ? `\0${path.slice(1)}` : path;
}

/** A unix socket file outlives its process; only a socket is ever removed, never another file. */
function removeStaleSocket(path: string): void {
  if (path.startsWith("@")) return;
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSocket() === true) unlinkSync(path);
}

/** Where a server is bound. */
export function describe(server: Server, name: string, index: number, address: Address): BoundAddress {
  const bound = server.address();
  if (bound === null || typeof bound === "string") return { name, index, address: formatAddress(address), port: 0 };
  return { name, index, address: formatIpPort(bound.address, bound.port), port: bound.port };
}
