/**
 * Everything that can be wrong with an HTTP/1 message, as one closed table of constants.
 *
 * API: `H1Errors.<NAME>` is an `H1Error { code, status, details, body }`. For a request the session
 * answers `status` with `body` and the detail `details`, then closes. For a response only `code` and
 * `details` count: the router answers 502 with the flag UPE.
 */

/** One way to be malformed. All are preallocated: compare by identity. */
export interface H1Error {
  /** Stable, for matching and logs. */
  readonly code: string;
  readonly status: number;
  /** Envoy's response code details. */
  readonly details: string;
  /** Body of the local reply. */
  readonly body: string;
}

function bad(code: string, details = "http1.codec_error"): H1Error {
  return Object.freeze({ code, status: 400, details, body: "Bad Request" });
}

function refused(code: string, status: number, details: string, body: string): H1Error {
  return Object.freeze({ code, status, details, body });
}

export const H1Errors = {
  /** A bare CR, a bare LF, or more than two empty lines before a request. */
  LINE_TERMINATOR: bad("h1.line_terminator"),
  /** NUL or another control character in a head or trailer section. */
  INVALID_CHARACTERS: bad("h1.invalid_characters", "http1.invalid_characters"),
  REQUEST_LINE: bad("h1.request_line"),
  METHOD: bad("h1.method"),
  /** Request target in none of the four forms, with a fragment, or with user information. */
  TARGET: bad("h1.target", "http1.invalid_url"),
  VERSION: refused("h1.version", 505, "http1.codec_error", "HTTP Version Not Supported"),
  /** Not an error of the peer: it speaks HTTP/2. All its bytes are kept for `takePending`. */
  HTTP2_PREFACE: refused("h1.http2_preface", 505, "http1.codec_error", "HTTP Version Not Supported"),
  STATUS_LINE: bad("h1.status_line"),
  /** Empty name, space before the colon, no colon, or a character that no token has. */
  HEADER_NAME: bad("h1.header_name"),
  /** A line that begins with a space: a folded header. */
  OBS_FOLD: bad("h1.obs_fold"),
  /** A name with `_` where the options say REJECT_REQUEST. */
  UNDERSCORE: bad("h1.underscore", "http1.unexpected_underscore"),
  HEADERS_TOO_LARGE: refused("h1.headers_too_large", 431, "http1.headers_too_large", "Request Header Fields Too Large"),
  TOO_MANY_HEADERS: refused("h1.too_many_headers", 431, "http1.too_many_headers", "Request Header Fields Too Large"),
  /** More than one Host, or one that is no authority. */
  HOST: bad("h1.host"),
  /** Not one decimal number up to 2^53-1: empty, signed, a list, too big. */
  CONTENT_LENGTH: bad("h1.content_length"),
  /** Several Content-Length fields, equal or not. */
  DUPLICATE_CONTENT_LENGTH: bad("h1.duplicate_content_length"),
  LENGTH_AND_CHUNKED: bad("h1.length_and_chunked", "http1.content_length_and_chunked_not_allowed"),
  /** Transfer-Encoding other than exactly one `chunked`. */
  TRANSFER_ENCODING: refused("h1.transfer_encoding", 501, "http1.invalid_transfer_encoding", "Not Implemented"),
  /** Transfer-Encoding where there can be none: HTTP/1.0, CONNECT. */
  TRANSFER_ENCODING_NOT_ALLOWED: bad("h1.transfer_encoding_not_allowed", "http1.transfer_encoding_not_allowed"),
  /** Content-Length of a CONNECT request. */
  CONTENT_LENGTH_NOT_ALLOWED: bad("h1.content_length_not_allowed", "http1.content_length_not_allowed"),
  /** Connection names ten fields or more, a pseudo-header, x-forwarded-*, or a framing field. */
  CONNECTION: bad("h1.connection", "http1.connection_header_rejected"),
  CHUNK_SIZE: bad("h1.chunk_size"),
  CHUNK_EXTENSION: bad("h1.chunk_extension"),
  /** Chunk data not followed by CR LF. */
  CHUNK_END: bad("h1.chunk_end"),
  /** The peer closed in the middle of a message. */
  INCOMPLETE: bad("h1.incomplete"),
  /** A byte where no response is expected. */
  UNEXPECTED_RESPONSE: bad("h1.unexpected_response"),
  /** 101 without Upgrade, or where no upgrade was asked for. */
  UNEXPECTED_UPGRADE: bad("h1.unexpected_upgrade"),
  /** 1xx responses without end. */
  TOO_MANY_INFORMATIONAL: bad("h1.too_many_informational"),
} as const satisfies Record<string, H1Error>;
