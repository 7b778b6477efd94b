/** What HTTP/2 looks like on the wire, as far as `node:http2` leaves that to others; its own tables come with a module of 30 ms. */

/** What a client sends first: RFC 9113 section 3.4. */
export const H2_PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

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
