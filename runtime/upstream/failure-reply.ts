/**
 * What an attempt that failed before any response header looks like to the one who asked: status and body as in Envoy
 * (router `onUpstreamReset`). The router dresses them for downstream, calls of guests get them as they are.
 */
import { ResetReason } from "../errors.ts";

export interface FailureReply {
  readonly status: number;
  readonly body: string;
}

export const TIMEOUT_REPLY: FailureReply = { status: 504, body: "upstream request timeout" };

/** Whether a call may be tried again of itself, once: the host never saw it, since its connection was going away. */
export function wasLost(reason: ResetReason, requestUnsent: boolean): boolean {
  return requestUnsent && (reason === ResetReason.CONNECTION_TERMINATION || reason === ResetReason.REFUSED_STREAM);
}

/** `transportFailure` "": none is known. `retried`: other attempts were made before. */
export function failureReply(reason: ResetReason, transportFailure: string, retried = false): FailureReply {
  if (reason === ResetReason.NO_HEALTHY_UPSTREAM) return { status: 503, body: reason };
  const why = transportFailure === "" ? "" : `, transport failure reason: ${transportFailure}`;
  const again = retried ? "retried and the latest " : "";
  return {
    status: reason === ResetReason.PROTOCOL_ERROR ? 502 : 503,
    body: `upstream connect error or disconnect/reset before headers. ${again}reset reason: ${reason}${why}`,
  };
}
