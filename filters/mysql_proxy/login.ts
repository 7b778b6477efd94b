/** What the two sides say to each other before the first command: greeting, login, change of user. */
import { Cursor } from "./cursor.ts";

const CONNECT_WITH_DB: u32 = 1 << 3;
export const COMPRESS: u32 = 1 << 5;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
const AUTH_LENENC: u32 = 1 << 21;
export const ZSTD_COMPRESSION: u32 = 1 << 26;
export const QUERY_ATTRIBUTES: u32 = 1 << 27;

/** Bytes of the login packet that ask for TLS: the head of a login, nothing behind it. */
const SSL_REQUEST_BYTES: u64 = 32;
const OLD_SSL_REQUEST_BYTES: u64 = 5;

/** The server's first packet. */
export class Greeting {
  /** False: this is no greeting. */
  valid: bool = false;
  capabilities: u32 = 0;
}

export function readGreeting(cursor: Cursor): Greeting {
  const greeting = new Greeting();
  const protocol = cursor.u8();
  if (protocol != 9 && protocol != 10) return greeting;
  cursor.text();
  cursor.skip(4);
  if (protocol == 9) cursor.text();
  else {
    // Scramble and filler. Servers before 4.1 say no more than the lower half of what they can.
    cursor.skip(9);
    if (cursor.left >= 2) greeting.capabilities = cursor.u16();
    if (cursor.left >= 5) {
      cursor.skip(3);
      greeting.capabilities |= cursor.u16() << 16;
    }
  }
  greeting.valid = !cursor.failed;
  return greeting;
}

/** The client's answer; or its wish for TLS, which is the same without what follows the fixed head. */
export class Login {
  valid: bool = false;
  wantsTls: bool = false;
  capabilities: u32 = 0;
  /** The database to begin with, "" for none. */
  database: string = "";
}

/** `total`: bytes of the packet, of which the cursor may see only the first. */
export function readLogin(cursor: Cursor, total: u64): Login {
  const login = new Login();
  const whole = <u64>cursor.left == total;
  const low = cursor.u16();
  if ((low & PROTOCOL_41) == 0) {
    readOldLogin(cursor, low, total, login);
    return login;
  }
  login.capabilities = low | (cursor.u16() << 16);
  // Largest packet, character set, reserved.
  cursor.skip(4 + 1 + 23);
  login.valid = !cursor.failed;
  login.wantsTls = (low & SSL) != 0 && total == SSL_REQUEST_BYTES;
  if (!login.valid || login.wantsTls) return login;
  cursor.text();
  skipAuthentication(cursor, login.capabilities);
  if ((login.capabilities & CONNECT_WITH_DB) != 0 && !cursor.failed) login.database = closing(cursor);
  // What does not fit into the part that was kept is no mistake.
  if (whole && cursor.failed) login.valid = false;
  return login;
}

/** Before 4.1: 2 bytes of capabilities, 3 of the largest packet, user, scramble, database; or only the first 5 to ask for TLS. */
function readOldLogin(cursor: Cursor, low: u32, total: u64, login: Login): void {
  login.capabilities = low;
  login.wantsTls = (low & SSL) != 0 && total == OLD_SSL_REQUEST_BYTES;
  cursor.skip(3);
  if (!login.wantsTls) cursor.text();
  login.valid = !cursor.failed;
  if ((low & CONNECT_WITH_DB) == 0 || login.wantsTls || cursor.failed) return;
  cursor.text();
  if (!cursor.failed) login.database = closing(cursor);
}

/** The database after a change of user: COM_CHANGE_USER without its first byte. */
export function changedDatabase(cursor: Cursor, capabilities: u32): string {
  cursor.text();
  if ((capabilities & SECURE_CONNECTION) != 0) cursor.skip(cursor.u8());
  else cursor.text();
  return cursor.failed ? "" : closing(cursor);
}

function skipAuthentication(cursor: Cursor, capabilities: u32): void {
  if ((capabilities & AUTH_LENENC) != 0) cursor.skip(cursor.length());
  else if ((capabilities & SECURE_CONNECTION) != 0) cursor.skip(cursor.u8());
  else cursor.text();
}

/** A text that some clients end with the packet rather than with a zero byte. */
function closing(cursor: Cursor): string {
  const failed = cursor.failed;
  const text = cursor.text();
  cursor.failed = failed;
  return text;
}
