/** Numbers of HTTP/2 that `node:http2` takes and gives; its own table of them comes with a module of 30 ms. */

/** Why a stream or a connection ends: RFC 9113 section 7, as far as they are used. */
export const H2Error = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  REFUSED_STREAM: 7,
  CANCEL: 8,
} as const;

/** The flag of HEADERS that says that nothing follows: RFC 9113 section 6.2. */
export const END_STREAM = 1;
