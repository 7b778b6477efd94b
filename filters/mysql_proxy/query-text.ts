/** Where the text of a COM_QUERY begins: behind the attributes that newer clients send with it. */
import { Cursor } from "./cursor.ts";

/** Attributes of one query, at most; what has more is not looked at. */
const MAX_ATTRIBUTES: u64 = 256;
/** Bytes of values of fixed size by their type, and marks for the others (MySQL's `enum_field_types`). */
const LENGTH_ENCODED: i32 = -1;
const SIZE_FIRST: i32 = -2;
const UNKNOWN: i32 = -3;

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
  switch (type) {
    case 6: // NULL
      return 0;
    case 1: // TINY
    case 244: // BOOL
      return 1;
    case 2: // SHORT
    case 13: // YEAR
      return 2;
    case 3: // LONG
    case 4: // FLOAT
    case 9: // INT24
      return 4;
    case 5: // DOUBLE
    case 8: // LONGLONG
      return 8;
    case 7: // TIMESTAMP
    case 10: // DATE
    case 11: // TIME
    case 12: // DATETIME
      return SIZE_FIRST;
    case 0: // DECIMAL
    case 15: // VARCHAR
    case 16: // BIT
    case 245: // JSON
    case 246: // NEWDECIMAL
    case 249: // TINY_BLOB
    case 250: // MEDIUM_BLOB
    case 251: // LONG_BLOB
    case 252: // BLOB
    case 253: // VAR_STRING
    case 254: // STRING
      return LENGTH_ENCODED;
    default:
      return UNKNOWN;
  }
}
