/**
 * The one place where a failure, or a filter's own answer, becomes a response: status, body, gRPC mapping
 * (Envoy: local replies, reference bodies and details). Where it goes next is the stream's business.
 */
import { HeaderMap } from "../codec/headers.ts";
import { ResetReason, ResponseFlag } from "../errors.ts";
import { grpcStatusOfHttp } from "../observe/grpc-status-text.ts";
import { failureReply, TIMEOUT_REPLY } from "../upstream/failure-reply.ts";
import type { LocalReply } from "./filter.ts";

/** A local reply without extra headers. `flag` -1: none. */
export function reply(status: number, body: string, details: string, flag = -1): LocalReply {
  return { status, body, headers: undefined, details, flag, grpcStatus: -1 };
}

/** Replies that never differ. */
export const REPLIES = {
  missingHost: reply(400, "", "missing_host_header"),
  invalidAuthority: reply(400, "", "http.invalid_authority"),
  lowVersion: reply(426, "", "low_version"),
  missingPath: reply(404, "", "missing_path_rejected"),
  absolutePath: reply(404, "", "absolute_path_rejected"),
  pathNormalizationFailed: reply(400, "", "path_normalization_failed"),
  upgradeFailed: reply(403, "", "upgrade_failed"),
  noRoute: reply(404, "", "route_not_found", ResponseFlag.NR),
  noHealthyUpstream: reply(503, ResetReason.NO_HEALTHY_UPSTREAM, "no_healthy_upstream", ResponseFlag.UH),
  requestTooLarge: reply(413, "Payload Too Large", "request_payload_too_large"),
  responseTooLarge: reply(500, "Internal Server Error", "response_payload_too_large"),
  routeTimeout: reply(504, TIMEOUT_REPLY.body, "response_timeout", ResponseFlag.UT),
  perTryTimeout: reply(504, TIMEOUT_REPLY.body, "upstream_per_try_timeout", ResponseFlag.UT),
  idleWhileRequesting: reply(408, "stream timeout", "stream_idle_timeout", ResponseFlag.SI),
  idleWhileResponding: reply(504, "stream timeout", "stream_idle_timeout", ResponseFlag.SI),
  requestTimeout: reply(408, "request timeout", "request_overall_timeout"),
  requestHeadTimeout: reply(408, "request header timeout", "request_header_timeout"),
  maxStreamDuration: reply(408, "downstream duration timeout", "max_duration_timeout"),
  retryBufferExceeded: reply(
    507,
    "exceeded request buffer limit while retrying upstream",
    "request_payload_exceeded_retry_buffer_limit",
  ),
} as const;

const RESET_FLAGS: Readonly<Record<ResetReason, ResponseFlag>> = {
  [ResetReason.LOCAL_RESET]: ResponseFlag.LR,
  [ResetReason.LOCAL_CONNECTION_FAILURE]: ResponseFlag.UF,
  [ResetReason.REMOTE_CONNECTION_FAILURE]: ResponseFlag.UF,
  [ResetReason.CONNECTION_TIMEOUT]: ResponseFlag.UF,
  [ResetReason.CONNECTION_TERMINATION]: ResponseFlag.UC,
  [ResetReason.OVERFLOW]: ResponseFlag.UO,
  [ResetReason.REMOTE_RESET]: ResponseFlag.UR,
  [ResetReason.REFUSED_STREAM]: ResponseFlag.UR,
  [ResetReason.PROTOCOL_ERROR]: ResponseFlag.UPE,
  [ResetReason.NO_HEALTHY_UPSTREAM]: ResponseFlag.UH,
};

/** The flag of a reset: used alone once response headers are out. */
export function resetFlag(reason: ResetReason): ResponseFlag {
  return RESET_FLAGS[reason];
}

/** What downstream gets when the upstream request ended before response headers (Envoy: router `onUpstreamReset`). */
export function upstreamResetReply(reason: ResetReason, transportFailure: string, retried: boolean): LocalReply {
  if (reason === ResetReason.NO_HEALTHY_UPSTREAM) return REPLIES.noHealthyUpstream;
  const detail = transportFailure === "" ? reason : `${reason}|${transportFailure}`;
  return {
    ...failureReply(reason, transportFailure, retried),
    headers: reason === ResetReason.OVERFLOW ? OVERLOADED : undefined,
    details: `upstream_reset_before_response_started{${detail}}`.replaceAll(" ", "_"),
    flag: RESET_FLAGS[reason],
    grpcStatus: -1,
  };
}

const OVERLOADED = ["x-envoy-overloaded", "true"];

/** The response headers of a reply; a gRPC reply is trailers-only and has no body. */
export function replyHeaders(from: LocalReply, grpc: boolean, bodyBytes: number): HeaderMap {
  if (grpc) return grpcHeaders(from);
  const list = [":status", String(from.status)];
  if (mayHaveBody(from.status)) {
    list.push("content-length", String(bodyBytes));
    if (bodyBytes > 0 && !has(from.headers, "content-type")) list.push("content-type", "text/plain");
  }
  const headers = new HeaderMap(list);
  addExtra(headers, from.headers);
  return headers;
}

function grpcHeaders(from: LocalReply): HeaderMap {
  const status = from.grpcStatus >= 0 ? from.grpcStatus : grpcStatusOfHttp(from.status);
  const list = [":status", "200", "content-type", "application/grpc", "grpc-status", String(status)];
  if (from.body.length > 0) {
    const text = typeof from.body === "string" ? from.body : Buffer.from(from.body).toString("utf8");
    list.push("grpc-message", encodeGrpcMessage(text));
  }
  const headers = new HeaderMap(list);
  addExtra(headers, from.headers);
  return headers;
}

/** Pseudo-headers and framing are the host's; whatever else the filter gave is appended. */
function addExtra(headers: HeaderMap, extra: readonly string[] | undefined): void {
  if (extra === undefined) return;
  for (let at = 0; at + 1 < extra.length; at += 2) {
    const name = extra[at]!;
    if (name.startsWith(":") || name === "content-length" || name === "transfer-encoding" || name === "connection")
      continue;
    headers.add(name, extra[at + 1]!);
  }
}

function has(extra: readonly string[] | undefined, name: string): boolean {
  if (extra === undefined) return false;
  for (let at = 0; at < extra.length; at += 2) if (extra[at] === name) return true;
  return false;
}

function mayHaveBody(status: number): boolean {
  return status >= 200 && status !== 204 && status !== 304;
}

/** Percent-encodes what may not stand in `grpc-message` (gRPC over HTTP/2, "Status-Message"). */
export function encodeGrpcMessage(text: string): string {
  let out = "";
  for (const byte of Buffer.from(text, "utf8")) {
    out +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}
