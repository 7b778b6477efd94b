/** Where the text of a COM_QUERY begins: behind the attributes that newer clients send with it. */
import { Cursor } from "./cursor.ts";

/** Attributes of one query, at most; what has more is not looked at. */
const MAX_ATTRIBUTES: u64 = 256;
/** Bytes of values of fixed size by their type, and marks for the others (MySQL's `enum_field_types`). */
const LENGTH_ENCODED: i32 = -1;
const SIZE_FIRST: i32 = -2;
const UNKNOWN: i32 = -3;
/** DECIMAL, TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR, (none), VARCHAR, BIT. */
const SIZES: StaticArray<i32> = [-1, 1, 2, 4, 4, 8, 0, -2, 8, 4, -2, -2, -2, 2, -3, -1, -1];
const BOOL_TYPE: u32 = 244;
/** JSON, NEWDECIMAL, ENUM, SET, blobs and strings. */
const FIRST_TEXT_TYPE: u32 = 245;

/** Moves the cursor to the query's text. False: the attributes cannot be read. */
export function skipAttributes(cursor: Cursor): bool {
  const count = cursor.length();
  // How many sets follow: always one.
  cursor.length();
  if (cursor.failed || count > MAX_ATTRIBUTES) return false;
  if (count == 0) return true;
  const nulls = cursor.address;
  cursor.skip((count + 7) / 8);
  if (cursor.u8() != 1 || cursor.failed) return false;
  const sizes = new StaticArray<i32>(<i32>count);
  for (let n = 0; n < <i32>count; n++) {
    sizes[n] = sizeOf(cursor.u8());
    cursor.skip(1);
    cursor.skip(cursor.length());
  }
  for (let n = 0; n < <i32>count; n++) {
    if (cursor.failed || sizes[n] == UNKNOWN) return false;
    if (((load<u8>(nulls + (n >>> 3)) >>> <u8>(n & 7)) & 1) != 0) continue;
    if (sizes[n] == LENGTH_ENCODED) cursor.skip(cursor.length());
    else if (sizes[n] == SIZE_FIRST) cursor.skip(cursor.u8());
    else cursor.skip(sizes[n]);
  }
  return !cursor.failed;
}

function sizeOf(type: u32): i32 {
  if (type >= FIRST_TEXT_TYPE) return LENGTH_ENCODED;
  return type < <u32>SIZES.length ? SIZES[type] : type == BOOL_TYPE ? 1 : UNKNOWN;
}
