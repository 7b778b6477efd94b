import assert from "node:assert/strict";
import { test } from "node:test";
import { ResetReason, ResponseFlag } from "../../runtime/errors.ts";
import { encodeGrpcMessage, reply, replyHeaders, upstreamResetReply } from "../../runtime/http/local-reply.ts";

const RESETS: readonly [ResetReason, number, string, string, ResponseFlag][] = [
  [
    ResetReason.REMOTE_CONNECTION_FAILURE,
    503,
    "remote connection failure",
    "remote_connection_failure",
    ResponseFlag.UF,
  ],
  [ResetReason.LOCAL_CONNECTION_FAILURE, 503, "local connection failure", "local_connection_failure", ResponseFlag.UF],
  [ResetReason.CONNECTION_TIMEOUT, 503, "connection timeout", "connection_timeout", ResponseFlag.UF],
  [ResetReason.CONNECTION_TERMINATION, 503, "connection termination", "connection_termination", ResponseFlag.UC],
  [ResetReason.LOCAL_RESET, 503, "local reset", "local_reset", ResponseFlag.LR],
  [ResetReason.REMOTE_RESET, 503, "remote reset", "remote_reset", ResponseFlag.UR],
  [ResetReason.OVERFLOW, 503, "overflow", "overflow", ResponseFlag.UO],
  [ResetReason.PROTOCOL_ERROR, 502, "protocol error", "protocol_error", ResponseFlag.UPE],
];

test("every reset reason has its status, body, details and flag", () => {
  for (const [reason, status, text, detail, flag] of RESETS) {
    const answer = upstreamResetReply(reason, "", false);
    assert.equal(answer.status, status);
    assert.equal(answer.body, `upstream connect error or disconnect/reset before headers. reset reason: ${text}`);
    assert.equal(answer.details, `upstream_reset_before_response_started{${detail}}`);
    assert.equal(answer.flag, flag);
  }
  assert.deepEqual(upstreamResetReply(ResetReason.OVERFLOW, "", false).headers, ["x-envoy-overloaded", "true"]);
});

test("a transport failure and an earlier attempt are told", () => {
  const answer = upstreamResetReply(
    ResetReason.REMOTE_CONNECTION_FAILURE,
    "delayed connect error: Connection refused",
    true,
  );
  assert.equal(
    answer.body,
    "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure, " +
      "transport failure reason: delayed connect error: Connection refused",
  );
  assert.equal(
    answer.details,
    "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
  );
});

test("no host is an answer of its own", () => {
  const answer = upstreamResetReply(ResetReason.NO_HEALTHY_UPSTREAM, "", false);
  assert.deepEqual(
    [answer.status, answer.body, answer.details, answer.flag],
    [503, "no healthy upstream", "no_healthy_upstream", ResponseFlag.UH],
  );
});

test("headers: text body, empty body, statuses without body", () => {
  assert.deepEqual(replyHeaders(reply(503, "x", "d"), false, 1).list, [
    ":status",
    "503",
    "content-length",
    "1",
    "content-type",
    "text/plain",
  ]);
  assert.deepEqual(replyHeaders(reply(404, "", "d"), false, 0).list, [":status", "404", "content-length", "0"]);
  assert.deepEqual(replyHeaders(reply(204, "", "d"), false, 0).list, [":status", "204"]);
});

test("a filter's headers are added, but framing and pseudo-headers stay the host's", () => {
  const from = {
    ...reply(429, "no", "d"),
    headers: [
      "content-type",
      "text/html",
      ":status",
      "200",
      "content-length",
      "9",
      "transfer-encoding",
      "chunked",
      "x-a",
      "1",
    ],
  };
  assert.deepEqual(replyHeaders(from, false, 2).list, [
    ":status",
    "429",
    "content-length",
    "2",
    "content-type",
    "text/html",
    "x-a",
    "1",
  ]);
});

test("gRPC requests get trailers-only answers with mapped status", () => {
  const headers = replyHeaders(reply(503, "no hëalthy%", "d"), true, 0);
  assert.deepEqual(headers.list, [
    ":status",
    "200",
    "content-type",
    "application/grpc",
    "grpc-status",
    "14",
    "grpc-message",
    "no h%C3%ABalthy%25",
  ]);
  const mapped = [400, 401, 403, 404, 429, 500, 502, 503, 504].map((status) =>
    replyHeaders(reply(status, "", "d"), true, 0).get("grpc-status"),
  );
  assert.deepEqual(mapped, ["13", "16", "7", "12", "14", "2", "14", "14", "14"]);
  assert.equal(replyHeaders({ ...reply(429, "", "d"), grpcStatus: 8 }, true, 0).get("grpc-status"), "8");
  assert.equal(encodeGrpcMessage("a\nb"), "a%0Ab");
});
