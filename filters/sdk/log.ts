/** Logging through the host. Ask `enabled` before a message is put together: a message that nobody reads costs nothing then. */
import * as LogLevel from "../../abi/log-level.ts";
import { proxy_get_log_level, proxy_log } from "./env.ts";
import { beginCall, bytesSize, scalarP, utf8Of } from "./memory.ts";

/** True when the host writes messages of this level (abi/log-level.ts) now. */
export function enabled(level: i32): bool {
  proxy_get_log_level(scalarP);
  return load<i32>(scalarP) <= level;
}

/** Hands one message to the host's log. M is string, Text, ArrayBuffer or Uint8Array. */
export function write<M>(level: i32, message: M): void {
  beginCall();
  const address = utf8Of<M>(message);
  proxy_log(level, address, bytesSize);
}

export function trace<M>(message: M): void {
  write<M>(LogLevel.TRACE, message);
}
export function debug<M>(message: M): void {
  write<M>(LogLevel.DEBUG, message);
}
export function info<M>(message: M): void {
  write<M>(LogLevel.INFO, message);
}
export function warn<M>(message: M): void {
  write<M>(LogLevel.WARN, message);
}
export function error<M>(message: M): void {
  write<M>(LogLevel.ERROR, message);
}
export function critical<M>(message: M): void {
  write<M>(LogLevel.CRITICAL, message);
}
