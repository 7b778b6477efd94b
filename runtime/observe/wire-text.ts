/**
 * Byte strings: text as it stands in header maps, access logs and other places of the data path, one
 * character per byte. Text from configuration and JSON has to become one before it is compared or joined.
 */
import { isUtf8 } from "node:buffer";

const NOT_ASCII = /[^\u0000-\u007f]/; // oxlint-disable-line no-control-regex -- it is the ASCII range

/** The UTF-8 bytes of `text`, one character each. */
export function wireText(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, "utf8").toString("latin1") : text;
}

/** `text` (a byte string) as a JSON string, again as a byte string; bytes that are no UTF-8 become `\u00xx`. */
export function jsonText(text: string): string {
  if (!NOT_ASCII.test(text)) return JSON.stringify(text);
  const bytes = Buffer.from(text, "latin1");
  if (isUtf8(bytes)) return wireText(JSON.stringify(bytes.toString("utf8")));
  return JSON.stringify(text).replace(/[\u0080-\u00ff]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
}

/** Control characters as `\xnn`, so that a value neither ends a line nor moves a cursor. */
export function lineText(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\u0000-\u001f\u007f]/.test(text) ? text.replace(/[\u0000-\u001f\u007f]/g, escapeByte) : text;
}

/** The same for header values, where a tab is allowed. */
export function headerText(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\u0000-\u0008\u000a-\u001f\u007f]/.test(text)
    ? text.replace(/[\u0000-\u0008\u000a-\u001f\u007f]/g, escapeByte) // oxlint-disable-line no-control-regex
    : text;
}

/** Text of others for a terminal or a log: at most `most` characters, and a question mark for each that is no text, or turns its direction. */
export function shownText(text: string, most: number): string {
  // oxlint-disable-next-line no-control-regex -- that is what must not reach a terminal
  return text.slice(0, most).replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, "?");
}

/** The same for text of several lines, all of it. */
export function shownLines(text: string): string {
  const lines = text.replaceAll("\t", "  ").split("\n");
  return lines.map((line) => shownText(line, line.length)).join("\n");
}

function escapeByte(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/** A byte string for those who read UTF-8 (regular expressions, protobuf): itself while it is ASCII, else its bytes. */
export function byteText(text: string): string | Uint8Array {
  return NOT_ASCII.test(text) ? Buffer.from(text, "latin1") : text;
}
