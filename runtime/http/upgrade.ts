/**
 * Requests to go on with another protocol on the same stream, WebSocket above all (RFC 9110 section 7.8; over HTTP/2
 * extended CONNECT, RFC 8441). Inside they look alike, as in Envoy: a GET with `connection: upgrade` and `upgrade`,
 * and 101 when upstream agrees. Until then no byte of the other protocol is read from downstream: to an upstream that
 * does not agree it would be one more request, which no filter has seen.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { Stream } from "./stream.ts";

/** `upgrade_type` of requests for a tunnel, in lower case; a protocol of this name there is not. */
export const CONNECT = "connect";

/** A request for a tunnel (RFC 9110 section 9.3.6), which has no path. Extended CONNECT is none any more here. */
export function isTunnel(headers: HeaderMap): boolean {
  return headers.get(":method") === "CONNECT";
}

/** RFC 9110 section 15.2.2. */
export const SWITCHING_PROTOCOLS = 101;

/**
 * Whether the connection manager or, before it, the route lets the protocol through that `headers` ask for. Counts
 * either way; if so the stream carries it from now on.
 */
export function admitUpgrade(stream: Stream, headers: HeaderMap): boolean {
  const { manager } = stream;
  const tunnel = isTunnel(headers);
  const wanted = tunnel ? "" : (headers.get("upgrade") ?? "");
  const type = tunnel ? CONNECT : wanted.toLowerCase();
  stream.prepare(headers);
  const action = stream.route()?.action;
  const own = action?.kind === "route" ? action.upgrades.find((upgrade) => upgrade.type === type) : undefined;
  const found = own ?? manager.config.upgrades.find((upgrade) => upgrade.type === type);
  if (found?.enabled !== true || (type === CONNECT && !tunnel)) {
    manager.stats.rqWsOnNonWsRoute.inc();
    return false;
  }
  manager.stats.cxUpgradesTotal.inc();
  manager.stats.cxUpgradesActive.inc();
  stream.upgrade = wanted;
  stream.tunnel = tunnel;
  return true;
}
