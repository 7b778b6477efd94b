/** The transport sockets of a cluster: the one of all hosts, and those that hosts choose by their metadata. */
import type { Message } from "../document/message.ts";
import type { UpstreamTlsConfig } from "../tls-snapshot.ts";
import type { BuildContext } from "./context.ts";
import { filterMetadata } from "./metadata.ts";
import { buildUpstreamTls } from "./tls.ts";

/** The namespace of an endpoint's metadata that `transport_socket_matches` look at. */
const MATCH = "envoy.transport_socket_match";

export class TransportSockets {
  /** Every TLS context of the cluster. */
  readonly contexts: readonly UpstreamTlsConfig[];
  /** Index of the context of hosts that match nothing; undefined: plain bytes. */
  readonly fallback: number | undefined;
  readonly #matches: readonly { readonly match: Readonly<Record<string, unknown>>; readonly tls: number | undefined }[];

  constructor(context: BuildContext, cluster: Message) {
    const contexts: UpstreamTlsConfig[] = [];
    const take = (owner: Message): number | undefined => {
      const tls = buildUpstreamTls(context, owner);
      return tls === undefined ? undefined : contexts.push(tls) - 1;
    };
    this.fallback = take(cluster);
    this.#matches = cluster.messages("transport_socket_matches").map((entry) => ({
      match: (entry.message("match")?.json ?? {}) as Readonly<Record<string, unknown>>,
      tls: take(entry),
    }));
    this.contexts = contexts;
  }

  /** The context of an endpoint: the first match all of whose values its metadata has. */
  choose(endpoint: Message, locality: Message): number | undefined {
    if (this.#matches.length === 0) return this.fallback;
    const wanted = (filterMetadata(endpoint)[MATCH] ?? filterMetadata(locality)[MATCH] ?? {}) as Record<
      string,
      unknown
    >;
    const found = this.#matches.find(({ match }) =>
      Object.entries(match).every(([key, value]) => JSON.stringify(wanted[key]) === JSON.stringify(value)),
    );
    return found === undefined ? this.fallback : found.tls;
  }
}
