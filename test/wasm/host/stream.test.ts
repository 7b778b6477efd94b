import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as Status from "../../../abi/status.ts";
import { DataStatus, HeadersStatus, TrailersStatus } from "../../../runtime/http/filter.ts";
import { HeaderMap } from "../../../runtime/codec/headers.ts";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { Puppet } from "../puppet.ts";
import { bodyOf, Stage } from "../stage.ts";

const NONE = [0, 0] as const;

describe("what callbacks answer", () => {
  const headers: [action: number, allow: boolean, expected: number][] = [
    [0, false, HeadersStatus.CONTINUE],
    [1, false, HeadersStatus.STOP_ALL_AND_WATERMARK],
    [1, true, HeadersStatus.STOP_ITERATION],
    [2, false, HeadersStatus.CONTINUE],
    [3, false, HeadersStatus.STOP_ALL_AND_BUFFER],
    [4, true, HeadersStatus.STOP_ALL_AND_WATERMARK],
    [99, false, HeadersStatus.STOP_ALL_AND_WATERMARK],
  ];
  for (const [action, allow, expected] of headers) {
    test(`headers ${action}${allow ? " with allow_on_headers_stop_iteration" : ""}`, () => {
      const puppet = new Puppet().on("proxy_on_request_headers", action).on("proxy_on_response_headers", action);
      const stage = Stage.started(puppet, { config: { allowOnHeadersStopIteration: allow } });
      const stream = stage.stream();
      assert.equal(stream.requestHead(), expected);
      assert.equal(stream.responseHead(), expected);
    });
  }
  const bodies: [action: number, expected: number][] = [
    [0, DataStatus.CONTINUE],
    [1, DataStatus.STOP_AND_BUFFER],
    [2, DataStatus.STOP_AND_WATERMARK],
    [3, DataStatus.STOP_NO_BUFFER],
    [4, DataStatus.STOP_NO_BUFFER],
    [-1, DataStatus.STOP_NO_BUFFER],
  ];
  for (const [action, expected] of bodies) {
    test(`body ${action}`, () => {
      const puppet = new Puppet().on("proxy_on_request_body", action).on("proxy_on_response_body", action);
      const stream = Stage.started(puppet).stream();
      stream.requestHead(false);
      assert.equal(stream.requestData(bodyOf("x"), false), expected);
      assert.equal(stream.filter.onResponseData(bodyOf("x"), false), expected);
    });
  }
  test("trailers", () => {
    const puppet = new Puppet().on("proxy_on_request_trailers", 1).on("proxy_on_response_trailers", 0);
    const stream = Stage.started(puppet).stream();
    stream.requestTrailers = stream.responseTrailers = new HeaderMap(["x", "1"]);
    assert.equal(stream.filter.onRequestTrailers(stream.requestTrailers), TrailersStatus.STOP);
    assert.equal(stream.filter.onResponseTrailers(stream.responseTrailers), TrailersStatus.CONTINUE);
  });
});

describe("continue and close", () => {
  test("a continue in the paused callback itself resumes by its status", () => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 1, puppet.call("proxy_continue_stream", 0));
    const stream = Stage.started(puppet).stream();
    assert.equal(stream.requestHead(), HeadersStatus.CONTINUE);
    assert.deepEqual(stream.events, []);
  });

  test("a continue from elsewhere comes after the guest has returned, and closes the map", () => {
    const puppet = new Puppet();
    const effective = puppet.call("proxy_set_effective_context", 2);
    const add = puppet.call("proxy_add_header_map_value", 0, ...puppet.text("x-tick"), ...puppet.text("1"));
    const resume = puppet.call("proxy_continue_stream", 0);
    puppet.on("proxy_on_request_headers", 1);
    puppet.on("proxy_on_queue_ready", 0, effective, add, resume);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stage.plugin.root!.onQueueReady(1);
    for (const call of [effective, add, resume]) assert.equal(stage.status(call), Status.OK);
    assert.deepEqual(stream.events, ["continueRequest"]);
    assert.equal(stream.requestHeaders!.get("x-tick"), "1");
    stage.plugin.root!.onQueueReady(1);
    assert.equal(stage.status(add), Status.BAD_ARGUMENT);
  });

  test("continuing the request from a response callback reaches the engine", () => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_body", 1);
    puppet.on("proxy_on_response_headers", 0, puppet.call("proxy_continue_stream", 0));
    const stream = Stage.started(puppet).stream();
    stream.requestHead(false);
    stream.requestData(bodyOf("x"), false);
    stream.responseHead();
    assert.deepEqual(stream.events, ["continueRequest"]);
  });

  test("types, and contexts without a stream", () => {
    const puppet = new Puppet();
    const calls = [4, -1, 3, 2].map((type) => puppet.call("proxy_continue_stream", type));
    const close = puppet.call("proxy_close_stream", 99);
    const fromRoot = puppet.call("proxy_continue_stream", 0);
    puppet.on("proxy_on_request_headers", 0, ...calls, close);
    puppet.on("proxy_on_queue_ready", 0, fromRoot);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stage.plugin.root!.onQueueReady(1);
    assert.deepEqual(
      calls.map((call) => stage.status(call)),
      [Status.BAD_ARGUMENT, Status.BAD_ARGUMENT, Status.UNIMPLEMENTED, Status.OK],
    );
    assert.equal(stage.status(close), Status.BAD_ARGUMENT);
    assert.equal(stage.status(fromRoot), Status.OK);
    assert.deepEqual(stream.events, []);
  });

  test("close resets the stream after the guest returned", () => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 0, puppet.call("proxy_close_stream", 0));
    const stream = Stage.started(puppet).stream();
    assert.notEqual(stream.requestHead(), HeadersStatus.CONTINUE);
    assert.deepEqual(stream.events, ["reset wasm_close_stream"]);
  });

  test("the functions of ABI 0.1.0 do the same", () => {
    const puppet = new Puppet({ marker: "proxy_abi_version_0_1_0" });
    const clear = puppet.call("proxy_clear_route_cache");
    puppet.on("proxy_on_request_headers", 1, puppet.call("proxy_continue_request"), clear);
    puppet.on("proxy_on_response_headers", 1, puppet.call("proxy_continue_response"));
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    assert.equal(stream.requestHead(), HeadersStatus.CONTINUE);
    assert.equal(stream.responseHead(), HeadersStatus.CONTINUE);
    assert.equal(stream.routeClears, 1);
  });
});

describe("send_local_response", () => {
  test("answers with everything the guest gave, after it returned; the status it answers is ignored", () => {
    const puppet = new Puppet();
    const headers = encodePairs(["X-Why", "because", "bad name", "x", ":status", "1", "x-split", "a\r\nb"]);
    const reply = puppet.call(
      "proxy_send_local_response",
      403,
      ...puppet.text("not today"),
      ...puppet.text("go away"),
      ...puppet.text(headers),
      7,
    );
    puppet.on("proxy_on_request_headers", 0, reply);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    assert.notEqual(stream.requestHead(), HeadersStatus.CONTINUE);
    assert.equal(stage.status(reply), Status.OK);
    assert.deepEqual(stream.replies, [
      {
        status: 403,
        body: Buffer.from("go away"),
        headers: ["x-why", "because"],
        details: "not_today",
        flag: -1,
        grpcStatus: 7,
      },
    ]);
    assert.equal(stage.log.lines.filter((line) => line.includes("is left out")).length, 3);
  });

  test("the first one wins", () => {
    const puppet = new Puppet();
    const first = puppet.call("proxy_send_local_response", 401, ...NONE, ...NONE, ...NONE, -1);
    const second = puppet.call("proxy_send_local_response", 402, ...NONE, ...NONE, ...NONE, -1);
    puppet.on("proxy_on_request_headers", 0, first, second);
    puppet.on("proxy_on_response_headers", 0, second);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    assert.equal(stream.responseHead(), HeadersStatus.CONTINUE);
    assert.deepEqual(stream.events, ["reply 401"]);
    assert.equal(stage.status(second), Status.OK);
    assert.equal(stage.log.lines.filter((line) => line.includes("already answered")).length, 2);
    assert.equal(stream.replies[0]!.grpcStatus, -1);
  });

  test("replaces a response that has not gone out, not one that has", () => {
    const puppet = new Puppet();
    const reply = puppet.call("proxy_send_local_response", 502, ...NONE, ...NONE, ...NONE, -1);
    puppet.on("proxy_on_response_headers", 0, reply);
    puppet.on("proxy_on_response_body", 0, reply);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stream.responseHead();
    assert.deepEqual(stream.events, ["reply 502"]);
    const other = stage.stream();
    other.requestHead();
    other.responseStarted = true;
    assert.equal(other.filter.onResponseData(bodyOf("x"), false), DataStatus.CONTINUE);
    assert.deepEqual(other.events, []);
  });

  test("from the root it needs the stream as effective context, and none works in the log phase", () => {
    const puppet = new Puppet();
    const reply = puppet.call("proxy_send_local_response", 418, ...NONE, ...NONE, ...NONE, -1);
    puppet.on("proxy_on_request_headers", 1);
    puppet.on("proxy_on_queue_ready", 0, reply, puppet.call("proxy_set_effective_context", 2), reply);
    puppet.on("proxy_on_log", 0, reply);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stage.plugin.root!.onQueueReady(1);
    assert.deepEqual(stream.events, ["reply 418"]);
    const logged = stage.stream();
    logged.requestHead();
    logged.finish();
    assert.deepEqual(logged.events, []);
  });

  test("bad pointers and impossible status codes", () => {
    const puppet = new Puppet();
    const outside = puppet.call("proxy_send_local_response", 200, ...NONE, 0x7fff_0000, 4, ...NONE, -1);
    const codes = [0, 99, 100, 199, 1000, -1].map((code) =>
      puppet.call("proxy_send_local_response", code, ...NONE, ...NONE, ...NONE, -1),
    );
    puppet.on("proxy_on_request_headers", 0, outside, ...codes);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    assert.equal(stream.requestHead(), HeadersStatus.CONTINUE);
    assert.equal(stage.status(outside), Status.INVALID_MEMORY_ACCESS);
    for (const call of codes) assert.equal(stage.status(call), Status.BAD_ARGUMENT);
    assert.deepEqual(stream.events, []);
  });
});
