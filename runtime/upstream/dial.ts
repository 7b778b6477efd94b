/** Begins connections to hosts: TCP or a unix socket, and TLS around it where the host has it. */
import { connect, type OnReadOpts, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { ResetReason } from "../errors.ts";
import { TCP_KEEPALIVE_DELAY_MS } from "../limits.ts";
import type { SecureFacts } from "../observe/stream-info.ts";
import type { Host } from "./host.ts";
import { type ConnectFailure, connectFailure } from "./transport-failure.ts";

/** What a kind of connection adds. */
export interface DialOptions {
  /** Names of the protocols that it speaks, for ALPN; empty: plain bytes. */
  readonly protocols: readonly string[];
  readonly onread?: OnReadOpts;
  readonly writableHighWaterMark?: number;
  readonly allowHalfOpen?: boolean;
}

/** Begins a connection. The event {@link dialedEvent} comes when it is made, `error` when it cannot be. */
export function dial(host: Host, { protocols, ...given }: DialOptions): Socket {
  const { target, tls } = host;
  const options =
    target.kind === "pipe"
      ? { path: target.path, noDelay: true, ...given }
      : {
          host: target.host,
          port: target.port,
          autoSelectFamily: false,
          noDelay: true,
          keepAlive: true,
          keepAliveInitialDelay: TCP_KEEPALIVE_DELAY_MS,
          ...given,
        };
  return tls === null ? connect(options) : tls.connect(options, { hostname: host.hostname, protocols });
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
