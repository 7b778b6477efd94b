/** What connections to hosts are read into. */
import { UPSTREAM_READ_BYTES } from "../limits.ts";

/**
 * All connections of a thread read into the same memory: a read is handed over before the next one
 * begins, and whoever keeps something of it copies that. Per connection it would be 64 KiB.
 */
export const upstreamReadBuffer = Buffer.allocUnsafeSlow(UPSTREAM_READ_BYTES);
