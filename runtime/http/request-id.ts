/**
 * Request ids: UUIDs of version 4 in form (Envoy: `x-request-id`; position 14 says "no trace reason").
 * Of each id 48 bits are new and the rest is shared by a batch, so that an id costs a few table look-ups. Ids
 * tell requests apart; they are no secrets.
 */
import { randomUUID } from "node:crypto";

const BATCH = 4096;
const TRIPLES = Array.from({ length: 4096 }, (_, value) => value.toString(16).padStart(3, "0"));
const PREFIX_LENGTH = 24;

let prefix = "";
let left = 0;

/** A new id of 36 characters. */
export function newRequestId(): string {
  if (left-- === 0) {
    // Up to and with the last dash; the slice is made flat, since it is copied into every id.
    prefix = Buffer.from(randomUUID().slice(0, PREFIX_LENGTH), "latin1").toString("latin1");
    left = BATCH - 1;
  }
  const high = (Math.random() * 0x1_00_00_00) | 0;
  const low = (Math.random() * 0x1_00_00_00) | 0;
  return prefix + TRIPLES[high >> 12]! + TRIPLES[high & 0xfff]! + TRIPLES[low >> 12]! + TRIPLES[low & 0xfff]!;
}
