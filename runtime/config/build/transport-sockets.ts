/** The transport sockets of a cluster: the one of all hosts, and those that hosts choose by their metadata. */
import type { Message } from "../document/message.ts";
import type { UpstreamProxyProtocol } from "../cluster-snapshot.ts";
import type { UpstreamTlsConfig } from "../tls-snapshot.ts";
import type { BuildContext } from "./context.ts";
import { filterMetadata } from "./metadata.ts";
import { buildUpstreamProxyProtocol } from "./proxy-protocol.ts";
import { buildUpstreamTls } from "./tls.ts";

/** The namespace of an endpoint's metadata that `transport_socket_matches` look at. */
const MATCH = "envoy.transport_socket_match";

const PROXY_PROTOCOL = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";

/** How a host is spoken to, below its protocol. */
export interface ChosenSocket {
  /** Index of the TLS context; undefined: plain bytes. */
  readonly tls: number | undefined;
  /** What comes before all else; undefined: nothing. */
  readonly proxyProtocol: UpstreamProxyProtocol | undefined;
}

export class TransportSockets {
  /** Every TLS context of the cluster. */
  readonly contexts: readonly UpstreamTlsConfig[];
  /** Of hosts that match nothing. */
  readonly fallback: ChosenSocket;
  readonly #matches: readonly { readonly match: Readonly<Record<string, unknown>>; readonly socket: ChosenSocket }[];

  constructor(context: BuildContext, cluster: Message) {
    const contexts: UpstreamTlsConfig[] = [];
    const take = (owner: Message): ChosenSocket => {
      const any = owner.message("transport_socket")?.message("typed_config");
      const proxied = any?.anyType === PROXY_PROTOCOL ? any.any : undefined;
      const tls = buildUpstreamTls(context, proxied ?? owner);
      return {
        tls: tls === undefined ? undefined : contexts.push(tls) - 1,
        proxyProtocol: proxied === undefined ? undefined : buildUpstreamProxyProtocol(context, proxied),
      };
    };
    this.fallback = take(cluster);
    this.#matches = cluster.messages("transport_socket_matches").map((entry) => ({
      match: (entry.message("match")?.json ?? {}) as Readonly<Record<string, unknown>>,
      socket: take(entry),
    }));
    this.contexts = contexts;
  }

  /** That of an endpoint: the first match all of whose values its metadata has. */
  choose(endpoint: Message, locality: Message): ChosenSocket {
    if (this.#matches.length === 0) return this.fallback;
    const wanted = (filterMetadata(endpoint)[MATCH] ?? filterMetadata(locality)[MATCH] ?? {}) as Record<
      string,
      unknown
    >;
    const found = this.#matches.find(({ match }) =>
      Object.entries(match).every(([key, value]) => JSON.stringify(wanted[key]) === JSON.stringify(value)),
    );
    return found === undefined ? this.fallback : found.socket;
  }
}
