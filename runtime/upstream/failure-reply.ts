/** What an attempt that failed before any response header looks like to the one who asked: status and body as in Envoy. */
import { ResetReason } from "../errors.ts";

export interface FailureReply {
  readonly status: number;
  readonly body: string;
}

export const TIMEOUT_REPLY: FailureReply = { status: 504, body: "upstream request timeout" };

export function failureReply(reason: ResetReason, transportFailure: string): FailureReply {
  if (reason === ResetReason.NO_HEALTHY_UPSTREAM) return { status: 503, body: reason };
  const transport = transportFailure === "" ? "" : `, transport failure reason: ${transportFailure}`;
  return {
    status: reason === ResetReason.PROTOCOL_ERROR ? 502 : 503,
    body: `upstream connect error or disconnect/reset before headers. reset reason: ${reason}${transport}`,
  };
}
