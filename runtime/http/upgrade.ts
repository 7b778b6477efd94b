/**
 * Requests to go on with another protocol on the same stream, WebSocket above all (RFC 9110 section 7.8; over HTTP/2
 * extended CONNECT, RFC 8441). Inside they look alike, as in Envoy: a GET with `connection: upgrade` and `upgrade`,
 * and 101 when upstream agrees. Until then no byte of the other protocol is read from downstream: to an upstream that
 * does not agree it would be one more request, which no filter has seen.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { Stream } from "./stream.ts";

/** RFC 9110 section 15.2.2. */
export const SWITCHING_PROTOCOLS = 101;

/**
 * Whether the connection manager or, before it, the route lets the protocol through that `headers` ask for. Counts
 * either way; if so the stream carries it from now on.
 */
export function admitUpgrade(stream: Stream, headers: HeaderMap): boolean {
  const { manager } = stream;
  const wanted = headers.get("upgrade") ?? "";
  const type = wanted.toLowerCase();
  stream.prepare(headers);
  const action = stream.route()?.action;
  const own = action?.kind === "route" ? action.upgrades.find((upgrade) => upgrade.type === type) : undefined;
  const found = own ?? manager.config.upgrades.find((upgrade) => upgrade.type === type);
  if (found?.enabled !== true) {
    manager.stats.rqWsOnNonWsRoute.inc();
    return false;
  }
  manager.stats.cxUpgradesTotal.inc();
  manager.stats.cxUpgradesActive.inc();
  stream.upgrade = wanted;
  return true;
}
