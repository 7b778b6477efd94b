/** Begins connections to hosts: TCP or a unix socket, and TLS around it where the host has it. */
import { connect, type OnReadOpts, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { ResetReason } from "../errors.ts";
import { TCP_KEEPALIVE_DELAY_MS } from "../limits.ts";
import { ipPort } from "../observe/address-text.ts";
import type { ConnectionInfo, SecureFacts } from "../observe/stream-info.ts";
import type { Host } from "./host.ts";
import { type ConnectFailure, connectFailure } from "./transport-failure.ts";

/** What a kind of connection adds. */
export interface DialOptions {
  /** Names of the protocols that it speaks, for ALPN; empty: plain bytes. */
  readonly protocols: readonly string[];
  /** Who is behind it, for hosts that are told; null: nobody. */
  readonly downstream: ConnectionInfo | null;
  readonly onread?: OnReadOpts;
  readonly writableHighWaterMark?: number;
  readonly allowHalfOpen?: boolean;
}

/** Begins a connection. The event {@link dialedEvent} comes when it is made, `error` when it cannot be. */
export function dial(host: Host, { protocols, downstream, ...given }: DialOptions): Socket {
  const { target, tls, proxyProtocol } = host;
  const options =
    target.kind === "pipe"
      ? { path: target.path, noDelay: true, ...given }
      : {
          host: target.host,
          port: target.port,
          ...(host.source === undefined || host.openFrom !== null ? {} : { localAddress: host.source }),
          autoSelectFamily: false,
          noDelay: true,
          keepAlive: true,
          keepAliveInitialDelay: TCP_KEEPALIVE_DELAY_MS,
          ...given,
        };
  const named = { hostname: host.hostname, protocols };
  if (proxyProtocol === null) return from(host, tls === null ? connect(options) : tls.connect(options, named));
  const { onread, ...plainOptions } = options;
  const plain = from(host, connect(tls === null ? options : plainOptions));
  // Before anybody else hears of the connection.
  plain.once("connect", () => plain.write(proxyProtocol.first(downstream, plain)));
  return tls === null ? plain : over(plain, tls.connect({ socket: plain }, named), onread);
}

/** It connects in the next turn: until then its handle can be given a socket that comes from the host's source address. */
function from<S extends Socket>({ source, openFrom }: Host, socket: S): S {
  if (source === undefined || openFrom === null) return socket;
  const { _handle: handle } = socket as unknown as { readonly _handle: { open(fd: number): number } };
  try {
    handle.open(openFrom(source));
  } catch (error) {
    const { code } = (error as { readonly cause?: { readonly code?: string } }).cause ?? {};
    socket.destroy(Object.assign(new Error(String(error)), { code: code ?? "" }));
  }
  return socket;
}

/** TLS over a connection that was made before: what Node does of itself only where it makes both. */
function over(plain: Socket, secured: TLSSocket, onread: OnReadOpts | undefined): TLSSocket {
  plain.on("error", (error) => secured.destroy(error));
  plain.on("close", () => secured.destroy());
  if (onread === undefined) return secured;
  const buffer = onread.buffer as Buffer;
  secured.on("data", (data: Buffer) => {
    for (let at = 0; at < data.length; at += buffer.length) {
      const piece = data.subarray(at, at + buffer.length);
      piece.copy(buffer);
      onread.callback(piece.length, buffer);
    }
  });
  return secured;
}

export function dialedEvent(host: Host): "connect" | "secureConnect" {
  return host.tls === null ? "connect" : "secureConnect";
}

/** Why a connection that was made must not be used: its certificate is not the host's. Null: it may be used. */
export function dialRefusal(host: Host, socket: Socket): ConnectFailure | null {
  if (host.tls === null) return null;
  const text = host.tls.refuse(socket as TLSSocket, host);
  return text === null ? null : { reason: ResetReason.REMOTE_CONNECTION_FAILURE, text };
}

/** What TLS of a connection says that was not refused; null: it has none. */
export function dialedFacts(host: Host, socket: Socket): SecureFacts | null {
  return host.tls === null ? null : host.tls.facts(socket as TLSSocket);
}

/** Where the socket of a connection is, as `ip:port`; "" for a unix socket, which has no address at this end. */
export function localAddressOf({ localAddress, localPort }: Socket): string {
  return localAddress === undefined ? "" : ipPort(localAddress, localPort ?? 0);
}

/** Ends a connection with RST; under TLS there is no way to it, and it ends without a last word. */
export function resetDialed(host: Host, socket: Socket): void {
  if (host.tls === null) socket.resetAndDestroy();
  else socket.destroy();
}

/** What an error means that came before the connection was made. */
export function dialFailure(host: Host, error: Error): ConnectFailure {
  const text = host.tls?.failure(error) ?? "";
  if (text !== "") return { reason: ResetReason.REMOTE_CONNECTION_FAILURE, text };
  return connectFailure(error, host.target.kind === "pipe");
}
