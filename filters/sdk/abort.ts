/** What a failed assertion does: it tells the host where, and traps. Needs no import that other hosts lack. */
import * as LogLevel from "../../abi/log-level.ts";
import { proxy_log } from "./env.ts";

export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  let text = message === null ? "abort" : message;
  if (file !== null) text += ` at ${file}:${line}:${column}`;
  const bytes = String.UTF8.encode(text);
  proxy_log(LogLevel.CRITICAL, changetype<usize>(bytes), bytes.byteLength);
  unreachable();
}
