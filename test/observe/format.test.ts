import assert from "node:assert/strict";
import { hostname } from "node:os";
import { test } from "node:test";
import {
  checkFormat,
  checkJsonFormat,
  compileFormat,
  compileJsonFormat,
  DEFAULT_FORMAT,
} from "../../runtime/observe/format.ts";
import { fc } from "../properties.ts";
import { finishedStream, freshStream, headersOf } from "./stream-sample.ts";

const text = (format: string, omitEmptyValues = false): string =>
  compileFormat(format, { omitEmptyValues })(finishedStream());
process.env["SLUICE_TEST_VALUE"] = "from the environment";

const CASES: [format: string, rendered: string][] = [
  ["plain", "plain"],
  ["100%% of %PROTOCOL%", "100% of HTTP/1.1"],
  ["%START_TIME%", "2016-04-15T20:17:00.310Z"],
  ["%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%", "2016/04/15T20:17:00+0000 1460751420"],
  ["%START_TIME(%s.%3f)%", "1460751420.310"],
  ["%START_TIME(%f|%1f|%6f|%9f)%", "310000000|3|310000|310000000"],
  ["%START_TIME(%a %A %b %B %d %e %j %y %C %p %I %l %k)%", "Fri Friday Apr April 15 15 106 16 20 PM 08  8 20"],
  ["%START_TIME(%D|%F|%T|%R|%r|%u|%w|%%)%", "04/15/16|2016-04-15|20:17:00|20:17|08:17:00 PM|5|5|%"],
  ["%START_TIME(%c|%U|%W|%Z)%", "Fri Apr 15 20:17:00 2016|15|15|UTC"],
  ["%DURATION%", "42"],
  ["%REQUEST_DURATION%", "10"],
  ["%RESPONSE_DURATION%", "20"],
  ["%RESPONSE_TX_DURATION%", "21"],
  ["%COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)%", "42"],
  ["%COMMON_DURATION(DS_RX_END:US_RX_BEG:us)%", "10500"],
  ["%COMMON_DURATION(US_RX_BEG:US_RX_END:ns)%", "9100000"],
  ["%COMMON_DURATION(US_CX_BEG:US_RX_END:ms)%", "-"],
  ["%COMMON_DURATION(DS_TX_END:DS_RX_BEG:ms)%", "-"],
  ["%BYTES_RECEIVED%/%BYTES_SENT%", "11/22"],
  ["%RESPONSE_HEADERS_BYTES% %RESPONSE_TRAILERS_BYTES%", "53 17"],
  ["%PROTOCOL% %UPSTREAM_PROTOCOL%", "HTTP/1.1 HTTP/2"],
  ["%RESPONSE_CODE%", "503"],
  ["%RESPONSE_CODE_DETAILS%", "upstream_reset_before_response_started{connection_termination}"],
  ["%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "upstream_reset_before_response_started{connection termination}"],
  ["%RESPONSE_FLAGS%", "UC,DI"],
  ["%RESPONSE_FLAGS_LONG%", "UpstreamConnectionTermination,DelayInjected"],
  ["%GRPC_STATUS%", "Unavailable"],
  ["%GRPC_STATUS(CAMEL_STRING)% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)%", "Unavailable UNAVAILABLE 14"],
  ["%GRPC_STATUS_NUMBER%", "14"],
  ["%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "2"],
  ["%UPSTREAM_TRANSPORT_FAILURE_REASON%", "delayed_connect_error:_111"],
  ["%UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%", "outbound|80||svc outbound|80||svc"],
  ["%UPSTREAM_HOST% %UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%", "192.0.2.9:8080 192.0.2.9:8080 192.0.2.9"],
  ["%UPSTREAM_LOCAL_ADDRESS%", "10.1.2.3:5555"],
  ["%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_ADDRESS_PORT%", "192.0.2.9 8080"],
  ["%DOWNSTREAM_REMOTE_ADDRESS%", "203.0.113.77:0"],
  ["%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "203.0.113.77"],
  ["%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(24)%", "203.0.113.0/24"],
  ["%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "[2001:db8::5]:4444"],
  ["%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "2001:db8::5"],
  ["%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT(32)%", "2001:db8::/32"],
  ["%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_PORT%", "4444"],
  ["%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_PORT%", "10.1.2.3:10000 10000"],
  ["%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%", "10.1.2.3:10000"],
  ["%CONNECTION_ID% %STREAM_ID%", "7 id-1"],
  ["%ROUTE_NAME% %FILTER_CHAIN_NAME%", "main-route chain"],
  ["%REQUESTED_SERVER_NAME%", "sni.example"],
  ["%HOSTNAME%", hostname()],
  ["%ENVIRONMENT(SLUICE_TEST_VALUE)%", "from the environment"],
  ["%ENVIRONMENT(SLUICE_TEST_NOTHING)%", "-"],
  ["%ACCESS_LOG_TYPE%", "DownstreamEnd"],
  ["%REQ(:METHOD)% %REQUEST_HEADER(:method)%", "POST POST"],
  ["%REQ(X-TWICE)%", "a"],
  ["%REQ(X-EMPTY)%|", "|"],
  ["%REQ(X-NONE)%", "-"],
  ["%REQ(X-NONE?USER-AGENT)%", "curl/8"],
  ["%REQ(USER-AGENT?:PATH):4%", "curl"],
  ["%REQ(USER-AGENT):0%|", "|"],
  ["%RESP(SERVER)% %RESPONSE_HEADER(server):3%", "sluice slu"],
  ["%TRAILER(X-T)% %RESPONSE_TRAILER(X-T)%", "v v"],
  ["%QUERY_PARAM(x)% %QUERY_PARAM(y)% %QUERY_PARAM(z)%", "1 / -"],
  ["%PATH%", "/api/v1?x=1&y=%2F"],
  ["%PATH(NQ)% %PATH(NQ:PATH)% %PATH(WQ:ORIG)%", "/api/v1 /api/v1 -"],
  ["%DYNAMIC_METADATA(com.filter:user)%", "jo"],
  ["%DYNAMIC_METADATA(com.filter:level)%", "3"],
  ["%DYNAMIC_METADATA(com.filter:nested:list)%", '[1,"two"]'],
  ["%DYNAMIC_METADATA(com.filter:nested:toString)%", "-"],
  ["%DYNAMIC_METADATA(com.filter:nothing)%", "-"],
  ["%DYNAMIC_METADATA(com.filter:user:more)%", "-"],
  ["%DYNAMIC_METADATA(none)%", "-"],
  ["%CLUSTER_METADATA(com.x:tier)%", "gold"],
  ["%METADATA(DYNAMIC:com.filter:admin)%", "true"],
  ["%METADATA(CLUSTER:com.x:weights)%", "[1,2]"],
  ["%METADATA(ROUTE:ns:k)%", "from route"],
  ["%METADATA(LISTENER:ns:k)%", "-"],
  ["%FILTER_STATE(wasm.key:PLAIN)%", "ab\\x0a"],
  ["%FILTER_STATE(wasm.key)%", '"YWIK"'],
  ["%FILTER_STATE(other)%", "-"],
  ["%DOWNSTREAM_TLS_VERSION% %TRACE_ID% %VIRTUAL_CLUSTER_NAME%", "- - -"],
  ["%DOWNSTREAM_WIRE_BYTES_SENT%%UPSTREAM_PEER_SUBJECT%", "--"],
  ["%LOCAL_REPLY_BODY% %CONNECTION_TERMINATION_DETAILS%", "- -"],
];
for (const [format, rendered] of CASES) {
  test(`format ${format}`, () => {
    assert.equal(checkFormat(format), undefined);
    assert.equal(text(format), rendered);
  });
}

test("the default format is Envoy's", () => {
  assert.equal(
    text(DEFAULT_FORMAT),
    '[2016-04-15T20:17:00.310Z] "POST /api/v1?x=1&y=%2F HTTP/1.1" 503 UC,DI 11 22 42 10 "203.0.113.77" "curl/8" ' +
      '"id-1" "www.example.com" "192.0.2.9:8080"\n',
  );
});

test("a stream of which nothing is known", () => {
  const render = (format: string): string => compileFormat(format, { omitEmptyValues: false })(freshStream());
  assert.equal(render(DEFAULT_FORMAT), '[2016-04-15T20:17:00.310Z] "- - HTTP/1.1" 0 - 0 0 - - "-" "-" "-" "-" "-"\n');
  assert.equal(render("%RESPONSE_CODE_DETAILS% %GRPC_STATUS% %UPSTREAM_CLUSTER% %ROUTE_NAME%"), "- - - -");
  assert.equal(render("%DOWNSTREAM_REMOTE_ADDRESS% %UPSTREAM_HOST_NAME_WITHOUT_PORT%"), "[2001:db8::5]:4444 -");
});

test("omitted empty values", () => {
  assert.equal(text("a%REQ(X-NONE)%b%UPSTREAM_PEER_CERT%", true), "ab");
});

test("times now and local", () => {
  const before = Date.now();
  const emitted = Number(text("%EMIT_TIME(%s)%")) * 1000;
  assert.ok(emitted >= before - 1000 && emitted <= Date.now());
  const local = text("%START_TIME_LOCAL%");
  assert.match(local, /^2016-04-1[456]T\d\d:\d\d:00\.310[+-]\d{4}$/);
  assert.equal(Date.parse(local.replace(/(\d\d)$/, ":$1")), Date.UTC(2016, 3, 15, 20, 17, 0, 310));
});

test("unique ids differ", () => {
  const format = compileFormat("%UNIQUE_ID%", { omitEmptyValues: false });
  const info = finishedStream();
  assert.notEqual(format(info), format(info));
  assert.match(format(info), /^[0-9a-f-]{36}$/);
});

test("grpc status: from headers, from the HTTP status, and none without gRPC", () => {
  const render = compileFormat("%GRPC_STATUS% %GRPC_STATUS_NUMBER%", { omitEmptyValues: false });
  const info = finishedStream();
  info.responseTrailers = null;
  assert.equal(render(info), "Unavailable 14");
  info.responseCode = 404;
  assert.equal(render(info), "Unimplemented 12");
  info.responseHeaders = headersOf({ "grpc-status": "1" });
  assert.equal(render(info), "Canceled 1");
  info.responseHeaders = headersOf({ "grpc-status": "77" });
  assert.equal(render(info), "77 77");
  info.requestHeaders = headersOf({ "content-type": "application/grpcx" });
  assert.equal(render(info), "- -");
});

const BAD = [
  "%",
  "%REQ(X)",
  "50% off",
  "%NO_SUCH_COMMAND%",
  "%protocol%",
  "%PROTOCOL(x)%",
  "%REQ%",
  "%REQ()%",
  "%REQ(a?b?c)%",
  "%REQ(a):x%",
  "%START_TIME(%Q)%",
  "%START_TIME(%4Y)%",
  "%START_TIME(abc%)%",
  "%COMMON_DURATION(DS_RX_BEG:NOPE:ms)%",
  "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%",
  "%COMMON_DURATION(DS_RX_BEG:DS_TX_END)%",
  "%GRPC_STATUS(other)%",
  "%RESPONSE_CODE_DETAILS(x)%",
  "%PATH(XX)%",
  "%PATH(WQ:NOPE)%",
  "%METADATA(NOPE:a:b)%",
  "%DYNAMIC_METADATA%",
  "%QUERY_PARAM%",
  "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)%",
  "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(129)%",
  "%DOWNSTREAM_REMOTE_ADDRESS(1)%",
  "%FILTER_STATE%",
  "%ENVIRONMENT()%",
];
for (const format of BAD) {
  test(`bad format ${format}`, () => {
    assert.equal(typeof checkFormat(format), "string");
    assert.equal(typeof checkJsonFormat({ a: [format] }), "string");
    assert.throws(() => compileFormat(format, { omitEmptyValues: false }), { code: "FORMAT_INVALID" });
  });
}

test("hostile values neither end a line nor are lost in headers", () => {
  const info = finishedStream();
  info.requestHeaders = headersOf({ "x-evil": "a\r\nb\tc\u0000\u007f\u00ff" });
  const render = (target: "line" | "header"): string =>
    compileFormat("%REQ(X-EVIL)%\n", { omitEmptyValues: false, target })(info);
  assert.equal(render("line"), "a\\x0d\\x0ab\\x09c\\x00\\x7f\u00ff\n");
  assert.equal(render("header"), "a\\x0d\\x0ab\tc\\x00\\x7f\u00ff\n");
});

test("text of the configuration becomes UTF-8 bytes", () => {
  assert.equal(Buffer.from(text("héllo %PROTOCOL%"), "latin1").toString("utf8"), "héllo HTTP/1.1");
});

test("JSON keeps types", () => {
  const format = {
    code: "%RESPONSE_CODE%",
    flags: "%RESPONSE_FLAGS%",
    mixed: "%RESPONSE_CODE% for %REQ(X-NONE)%",
    admin: "%DYNAMIC_METADATA(com.filter:admin)%",
    nested: { all: "%DYNAMIC_METADATA(com.filter:nested)%", list: ["%DURATION%", 1, true, null] },
    missing: "%REQ(X-NONE)%",
    path: "%REQ(:PATH):4%",
    constant: 1.5,
    'q"': "plain",
  };
  const render = (omitEmptyValues: boolean): unknown =>
    JSON.parse(compileJsonFormat(format, { omitEmptyValues })(finishedStream()));
  const expected = {
    code: 503,
    flags: "UC,DI",
    mixed: "503 for -",
    admin: true,
    nested: { all: { list: [1, "two"] }, list: [42, 1, true, null] },
    missing: null,
    path: "/api",
    constant: 1.5,
    'q"': "plain",
  };
  assert.deepEqual(render(false), expected);
  const { missing: _missing, ...rest } = expected;
  assert.deepEqual(render(true), { ...rest, mixed: "503 for " });
  assert.equal(checkJsonFormat(format), undefined);
});

test("JSON of any header value is one line of valid UTF-8 that reads back", () => {
  const format = compileJsonFormat({ v: "%REQ(x)%", w: "<%REQ(x)%>" }, { omitEmptyValues: false });
  const info = finishedStream();
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 20 }).map((raw) => Buffer.from(raw)),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).map((value) => Buffer.from(value, "utf8")),
  );
  fc.assert(
    fc.property(bytes, (value) => {
      info.requestHeaders = headersOf({ x: value.toString("latin1") });
      const line = Buffer.from(format(info), "latin1");
      const decoded = new TextDecoder("utf-8", { fatal: true }).decode(line);
      assert.ok(!decoded.includes("\n"));
      const { v, w } = JSON.parse(decoded) as { v: string; w: string };
      assert.equal(w, `<${v}>`);
      const asUtf8 = value.toString("utf8");
      assert.equal(v, Buffer.from(asUtf8, "utf8").equals(value) ? asUtf8 : value.toString("latin1"));
    }),
  );
});

test("text of any header value stays one line", () => {
  const format = compileFormat("%REQ(x)%", { omitEmptyValues: false });
  const info = finishedStream();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), (raw) => {
      info.requestHeaders = headersOf({ x: Buffer.from(raw).toString("latin1") });
      // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
      assert.doesNotMatch(format(info), /[\u0000-\u001f\u007f]/);
    }),
  );
});
