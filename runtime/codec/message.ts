/**
 * What the HTTP/1 parsers call and what they say about a head: the waist between the codec and both
 * of its users (the downstream session in `http/`, the upstream connection in `upstream/`).
 */
import type { HeaderMap } from "./headers.ts";

/** Facts about a message head, as bits of one number, so that a head costs no extra object. */
export const HeadFlag = {
  /** No body follows. */
  END_STREAM: 1,
  /** The connection may be used again after this message (version and Connection considered). */
  KEEP_ALIVE: 2,
  /** The peer speaks HTTP/1.0. */
  HTTP_1_0: 4,
  /** Request: `Expect: 100-continue` was present (and is removed from the map). */
  EXPECT_CONTINUE: 8,
  /** The body came chunked: no length is known ahead. */
  CHUNKED: 16,
  /** `Connection: upgrade` with an Upgrade field was present (both are kept in the map). */
  UPGRADE: 32,
  /** Response: the body ends when the connection does. */
  CLOSE_DELIMITED: 64,
} as const;

/** What a parser calls, synchronously, while `execute` runs. */
export interface RequestSink {
  /** The map holds `:authority`, `:path`, `:method`, `:scheme` first (authority is "" when Host is absent). */
  onRequestHead(headers: HeaderMap, flags: number): void;
  /** `endStream` is true on the last call unless trailers follow; the chunk may be empty then. */
  onRequestData(chunk: Buffer, endStream: boolean): void;
  /** Ends the message. */
  onRequestTrailers(trailers: HeaderMap): void;
}

export interface ResponseSink {
  /** A 1xx response other than 101; any number may come before the final head. */
  onInformational(status: number, headers: HeaderMap): void;
  /** The map holds `:status` first. */
  onResponseHead(status: number, headers: HeaderMap, flags: number): void;
  onResponseData(chunk: Buffer, endStream: boolean): void;
  onResponseTrailers(trailers: HeaderMap): void;
}
