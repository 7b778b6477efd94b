/** envoy.config.core.v3.BackoffStrategy, and the messages with the same two fields. */
import { BACKOFF_MAX_FACTOR } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import type { BuildContext } from "./context.ts";

/** Waits between attempts, in milliseconds: the first is up to `baseMs` long, and they grow up to `maxMs`. */
export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** `unsetMs`: the base where nothing is said. `rule` names the problem of a maximum below the base. */
export function buildBackoff(
  context: BuildContext,
  options: Message | undefined,
  unsetMs: number,
  rule: string,
): Backoff {
  if (options === undefined) return { baseMs: unsetMs, maxMs: unsetMs * BACKOFF_MAX_FACTOR };
  const baseMs = context.timerMillis(options, "base_interval", unsetMs);
  const maxMs = context.timerMillis(options, "max_interval", baseMs * BACKOFF_MAX_FACTOR);
  if (maxMs < baseMs) context.error(options, "max_interval", rule, "max_interval must not be less than base_interval");
  return { baseMs, maxMs };
}
