/** Numbers as guests get them, one character per byte. */

/** Eight bytes of a signed integer. */
export function long(value: number | bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes.latin1Slice();
}

/** Eight bytes of a floating-point number. */
export function double(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes.latin1Slice();
}
