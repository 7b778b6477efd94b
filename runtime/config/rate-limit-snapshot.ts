/** The part of a snapshot that describes requests to rate limits: config.route.v3.RateLimit. */
import type { HeaderMatcher, QueryParameterMatcher } from "./snapshot.ts";

/** envoy.config.route.v3.RateLimit. */
export interface RateLimitConfig {
  readonly stage: number;
  readonly disableKey: string;
  readonly actions: readonly RateLimitAction[];
  /** How many hits one request counts for; unset: as the rate limit service has it, which is 1. */
  readonly hitsAddend?: number;
}
export type RateLimitAction =
  | { readonly kind: "source_cluster" }
  | { readonly kind: "destination_cluster" }
  | { readonly kind: "remote_address" }
  | { readonly kind: "masked_remote_address"; readonly v4Bits: number; readonly v6Bits: number }
  | { readonly kind: "request_headers"; readonly header: string; readonly key: string; readonly skipIfAbsent: boolean }
  | {
      readonly kind: "query_parameters";
      readonly parameter: string;
      readonly key: string;
      readonly skipIfAbsent: boolean;
    }
  | { readonly kind: "generic_key"; readonly key: string; readonly value: string }
  | {
      readonly kind: "header_value_match";
      readonly key: string;
      readonly value: string;
      readonly expectMatch: boolean;
      readonly headers: readonly HeaderMatcher[];
    }
  | {
      readonly kind: "query_parameter_value_match";
      readonly key: string;
      readonly value: string;
      readonly expectMatch: boolean;
      readonly parameters: readonly QueryParameterMatcher[];
    }
  | {
      readonly kind: "metadata";
      readonly key: string;
      readonly path: readonly string[];
      readonly defaultValue: string;
      readonly source: "DYNAMIC" | "ROUTE_ENTRY";
      readonly skipIfAbsent: boolean;
    };
