/** tunneling_config of tcp_proxy: the request by which a host is asked for a tunnel. */
import { HeaderMap } from "../codec/headers.ts";
import type { TunnelingConfig } from "../config/network-snapshot.ts";
import { compileFormat, type Format } from "../observe/format.ts";
import { compileMutations, type CompiledMutation } from "../observe/header-mutation.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { wireText } from "../observe/wire-text.ts";

export class Tunneling {
  readonly #config: TunnelingConfig;
  readonly #hostname: Format;
  readonly #mutations: readonly CompiledMutation[];

  constructor(config: TunnelingConfig) {
    this.#config = config;
    this.#hostname = compileFormat(config.hostname, { omitEmptyValues: true, target: "header" });
    this.#mutations = compileMutations([config.headers]) ?? [];
  }

  /** The head for one connection. */
  head(stream: StreamInfo): HeaderMap {
    const { post, postPath } = this.#config;
    const authority = this.#hostname(stream);
    const headers = new HeaderMap([":method", post ? "POST" : "CONNECT", ":authority", authority]);
    if (post) {
      headers.add(":path", wireText(postPath));
      headers.add(":scheme", stream.connection.tls ? "https" : "http");
    }
    for (const mutation of this.#mutations) mutation.apply(headers, stream);
    return headers;
  }
}
