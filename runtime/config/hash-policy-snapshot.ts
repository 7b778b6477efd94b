/** The part of the snapshot that says what streams are told apart by: hash policies of routes and of tcp_proxy. */
import type { RegexRewrite } from "./snapshot.ts";

/** envoy.config.route.v3.RouteAction.HashPolicy. */
export type HttpHashPolicy = HashSource & {
  /** When there is a hash once this one was looked at, the next ones are not. */
  readonly terminal: boolean;
};

type HashSource =
  | { readonly kind: "header"; readonly name: string; readonly rewrite: RegexRewrite | undefined }
  | { readonly kind: "cookie"; readonly name: string; readonly generate: GeneratedCookie | undefined }
  | { readonly kind: "query_parameter"; readonly name: string }
  | ConnectionHashPolicy;

/** envoy.type.v3.HashPolicy: what tcp_proxy has too. */
export type ConnectionHashPolicy =
  | { readonly kind: "source_ip" }
  | { readonly kind: "filter_state"; readonly key: string };

/** What downstream is given when it has no such cookie. */
export interface GeneratedCookie {
  /** Seconds; 0: until the browser ends. */
  readonly ttlSeconds: number;
  readonly path: string;
  readonly attributes: readonly { readonly name: string; readonly value: string }[];
}
