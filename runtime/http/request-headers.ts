/**
 * What the connection manager does to request headers before any filter sees them
 * (Envoy: `ConnectionManagerUtility::mutateRequestHeaders`; reference section 3.5).
 */
import { BlockList } from "node:net";
import type { HeaderMap } from "../codec/headers.ts";
import type { HttpConnectionManagerConfig, NodeConfig } from "../config/snapshot.ts";
import { ipPort, isLoopback } from "../observe/address-text.ts";
import { ipFamily } from "../observe/ip-family.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { CLIENT_CERT_HEADER, forwardClientCert } from "./client-cert.ts";
import { newRequestId } from "./request-id.ts";

/** Removed from requests that do not come from inside: they steer the router. */
const INTERNAL_ONLY = new Set([
  "x-envoy-retriable-status-codes",
  "x-envoy-retriable-header-names",
  "x-envoy-retry-on",
  "x-envoy-retry-grpc-on",
  "x-envoy-max-retries",
  "x-envoy-upstream-alt-stat-name",
  "x-envoy-upstream-rq-timeout-ms",
  "x-envoy-upstream-rq-per-try-timeout-ms",
  "x-envoy-upstream-rq-timeout-alt-response",
  "x-envoy-expected-rq-timeout-ms",
  "x-envoy-force-trace",
  "x-envoy-ip-tags",
  "x-envoy-original-url",
  "x-envoy-hedge-on-per-try-timeout",
]);
/** Removed from requests of the outside world at the edge. */
const EDGE_ONLY = new Set([
  "x-envoy-decorator-operation",
  "x-envoy-downstream-service-cluster",
  "x-envoy-downstream-service-node",
]);

export class RequestHeaders {
  readonly #config: HttpConnectionManagerConfig;
  readonly #node: NodeConfig | undefined;
  readonly #internal: BlockList | null;
  /** The request under way has one: found on the way, for most have none. */
  #sawClientCert = false;

  constructor(config: HttpConnectionManagerConfig, node?: NodeConfig) {
    this.#config = config;
    this.#node = node;
    this.#internal = config.internalCidrs.length === 0 ? null : blockList(config.internalCidrs);
  }

  /** Fills `info.remoteAddress` and changes `headers` in place. */
  mutate(headers: HeaderMap, info: StreamInfo): void {
    const config = this.#config;
    const connection = info.connection;
    const forwardedFor = headers.joined("x-forwarded-for");
    const trusted = this.#trustedAddress(forwardedFor, connection.remoteIp);
    info.remoteIp = trusted;
    // What x-forwarded-for names has no port; Envoy prints port 0.
    info.remoteAddress = trusted === connection.remoteIp ? connection.remoteAddress : ipPort(trusted, 0);
    const internal = this.#isInternal(forwardedFor, trusted);
    const edge = !internal && config.useRemoteAddress;
    this.#sanitize(headers, internal, edge);
    if (this.#sawClientCert || connection.secure !== undefined)
      forwardClientCert(headers, connection, config.clientCert);
    if (internal) headers.set("x-envoy-internal", "true");
    if (edge && trusted !== "") headers.set("x-envoy-external-address", trusted);
    if (config.useRemoteAddress) this.#forwarded(headers, forwardedFor, info);
    if (!headers.has("x-forwarded-proto")) headers.add("x-forwarded-proto", connection.tls ? "https" : "http");
    const scheme = headers.get("x-forwarded-proto");
    headers.set(":scheme", scheme === "https" || scheme === "http" ? scheme : connection.tls ? "https" : "http");
    if (config.via !== "") headers.set("via", append(headers.joined("via"), config.via));
    if (config.addUserAgent) this.#addUserAgent(headers);
    this.#requestId(headers, edge);
  }

  /** One pass over all fields; nothing is rebuilt when nothing has to go. */
  #sanitize(headers: HeaderMap, internal: boolean, edge: boolean): void {
    this.#sawClientCert = false;
    const list = headers.list;
    let to = 0;
    for (let at = 0; at < list.length; at += 2) {
      const name = list[at]!;
      if (name === CLIENT_CERT_HEADER) this.#sawClientCert = true;
      if (name.startsWith("x-envoy-") && this.#mustGo(name, internal, edge)) continue;
      if (to !== at) {
        list[to] = name;
        list[to + 1] = list[at + 1]!;
      }
      to += 2;
    }
    if (to !== list.length) list.length = to;
    if (!internal) for (const name of this.#config.routeConfig.internalOnlyHeaders) headers.remove(name);
  }

  #mustGo(name: string, internal: boolean, edge: boolean): boolean {
    if (name === "x-envoy-internal") return true;
    return (
      (!internal && INTERNAL_ONLY.has(name)) || (edge && (EDGE_ONLY.has(name) || name === "x-envoy-external-address"))
    );
  }

  /** Nth address from the right of x-forwarded-for that a trusted hop vouches for, else the peer. */
  #trustedAddress(forwardedFor: string | undefined, peer: string): string {
    if (forwardedFor === undefined) return peer;
    const hops = this.#config.xffNumTrustedHops;
    const fromRight = this.#config.useRemoteAddress ? hops : hops + 1;
    if (fromRight === 0) return peer;
    const parts = forwardedFor.split(",");
    if (parts.length < fromRight) return peer;
    const address = parts[parts.length - fromRight]!.trim();
    return ipFamily(address) === 0 ? peer : address;
  }

  #isInternal(forwardedFor: string | undefined, trusted: string): boolean {
    if (this.#internal === null) return false;
    const single = this.#config.useRemoteAddress
      ? forwardedFor === undefined
      : forwardedFor !== undefined && !forwardedFor.includes(",");
    if (!single) return false;
    const family = ipFamily(trusted);
    return family !== 0 && this.#internal.check(trusted, family === 6 ? "ipv6" : "ipv4");
  }

  #forwarded(headers: HeaderMap, forwardedFor: string | undefined, info: StreamInfo): void {
    const config = this.#config;
    const peer = info.connection.remoteIp;
    if (!config.skipXffAppend && peer !== "") {
      // A loopback peer says nothing to the next hop; Envoy appends its own address then.
      headers.set(
        "x-forwarded-for",
        append(forwardedFor, isLoopback(peer) ? ipOf(info.connection.localAddress) : peer),
      );
    }
    if (config.xffNumTrustedHops === 0) headers.set("x-forwarded-proto", info.connection.tls ? "https" : "http");
  }

  #addUserAgent(headers: HeaderMap): void {
    const cluster = this.#node?.cluster ?? "";
    if (cluster === "") return;
    headers.set("x-envoy-downstream-service-cluster", cluster);
    if (!headers.has("user-agent")) headers.add("user-agent", cluster);
    if (this.#node!.id !== "") headers.set("x-envoy-downstream-service-node", this.#node!.id);
  }

  #requestId(headers: HeaderMap, edge: boolean): void {
    const config = this.#config;
    if (!config.generateRequestId) return;
    const given = headers.get("x-request-id");
    if (given !== undefined && (!edge || config.preserveExternalRequestId)) return;
    headers.set("x-request-id", newRequestId());
  }
}

function append(value: string | undefined, more: string): string {
  return value === undefined || value === "" ? more : `${value}, ${more}`;
}

function ipOf(address: string): string {
  const colon = address.lastIndexOf(":");
  const ip = colon < 0 ? address : address.slice(0, colon);
  return ip.startsWith("[") ? ip.slice(1, -1) : ip;
}

function blockList(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const slash = cidr.lastIndexOf("/");
    const address = slash < 0 ? cidr : cidr.slice(0, slash);
    const family = address.includes(":") ? "ipv6" : "ipv4";
    list.addSubnet(address, slash < 0 ? (family === "ipv6" ? 128 : 32) : Number(cidr.slice(slash + 1)), family);
  }
  return list;
}
