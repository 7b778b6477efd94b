import assert from "node:assert/strict";
import { setImmediate, setTimeout } from "node:timers/promises";
import { describe, test } from "node:test";
import * as Status from "../../abi/status.ts";
import { DataStatus, HeadersStatus } from "../../runtime/http/filter.ts";
import { INSTANCE_RESTARTS_PER_SECOND } from "../../runtime/limits.ts";
import type { FailureReason } from "../../runtime/wasm/instance/failure.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { CALLBACKS, functionIndex, Puppet } from "./puppet.ts";
import type { Call } from "./puppet.ts";
import { StillClock } from "../still-clock.ts";
import { bodyOf, Stage } from "./stage.ts";

/** Traps on requests that carry `x-trap`; other requests pause. */
function trapping(kind: (puppet: Puppet) => Call): Puppet {
  const puppet = new Puppet();
  puppet.on("proxy_on_request_headers", 1);
  puppet.on("proxy_on_request_body", 0, kind(puppet));
  return puppet;
}

describe("a trap", () => {
  const kinds: [string, (puppet: Puppet) => Call, RegExp, FailureReason][] = [
    ["unreachable", (puppet) => puppet.trap(), /trap: unreachable/, "trap"],
    ["stack overflow", (puppet) => puppet.overflow(), /stack overflow: /, "stack_overflow"],
    ["abort", (puppet) => puppet.call("abort", 0, 0, 3, 7), /abort: abort at \?:3:7/, "abort"],
    ["proc_exit", (puppet) => puppet.call("proc_exit", 2), /exit: proc_exit\(2\)/, "exit"],
  ];
  for (const [name, kind, pattern, reason] of kinds) {
    test(`${name}: its stream is answered 503, it is counted, and logged with plugin, callback and context`, () => {
      const stage = Stage.started(trapping(kind), { config: { name: "breaker" } });
      const stream = stage.stream();
      stream.requestHead(false);
      stream.requestData(bodyOf("x"), true);
      assert.equal(stream.replies.length, 1);
      const { status, details, grpcStatus } = stream.replies[0]!;
      assert.deepEqual([status, details, grpcStatus], [503, `wasm_fail_stream{${reason}}`, 14]);
      assert.equal(stage.stats.values.get("wasm.breaker.traps"), 1);
      assert.equal(stage.stats.values.get(`wasm.breaker.failures.${reason}`), 1);
      assert.equal(stage.stats.values.get("wasm.breaker.failed_streams"), 1);
      const line = stage.log.lines.find((one) => one.startsWith("error"))!;
      assert.match(line, /plugin breaker/);
      assert.match(line, pattern);
      assert.match(line, /proxy_on_request_body, context 2/);
      assert.match(line, /\n {4}at /);
    });
  }

  test("the response of the reply passes the dead filter untouched, and nothing else is called", () => {
    const stage = Stage.started(trapping((puppet) => puppet.trap()));
    const stream = stage.stream();
    stream.requestHead(false);
    stream.requestData(bodyOf("x"), true);
    assert.equal(stream.responseHead([":status", "503"]), HeadersStatus.CONTINUE);
    stream.finish();
    assert.deepEqual(stream.events, ["reply 503"]);
  });

  test("FAIL_OPEN: the stream goes on as if the filter were absent", () => {
    const stage = Stage.started(
      trapping((puppet) => puppet.trap()),
      { config: { failurePolicy: "FAIL_OPEN" } },
    );
    const stream = stage.stream();
    stream.requestHead(false);
    assert.equal(stream.requestData(bodyOf("x"), true), DataStatus.CONTINUE);
    assert.equal(stream.responseHead(), HeadersStatus.CONTINUE);
    stream.finish();
    assert.deepEqual(stream.events, []);
    assert.equal(stage.stats.values.get("wasm.puppet.skipped_streams"), 1);
  });

  test("after the response has started the stream is reset", () => {
    const puppet = new Puppet();
    puppet.on("proxy_on_response_body", 0, puppet.trap());
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stream.responseHead([":status", "200"], false);
    stream.responseStarted = true;
    assert.notEqual(stream.filter.onResponseData(bodyOf("x"), true), DataStatus.CONTINUE);
    assert.deepEqual(stream.events, ["reset wasm_fail_stream{trap}"]);
  });

  test("in on_log, on_done and on_delete nobody is harmed", async () => {
    for (const callback of ["proxy_on_log", "proxy_on_done", "proxy_on_delete"]) {
      const puppet = new Puppet();
      puppet.on(callback, 0, puppet.trap());
      const stage = Stage.started(puppet);
      const stream = stage.stream();
      stream.requestHead();
      stream.responseHead();
      stream.finish();
      assert.deepEqual(stream.events, [], callback);
      await setImmediate();
      assert.equal(stage.stream().requestHead(), HeadersStatus.CONTINUE);
    }
  });
});

describe("the other streams of a dead instance", () => {
  for (const policy of ["FAIL_CLOSED", "FAIL_OPEN"] as const) {
    test(`${policy}: paused ones are settled at once, others at their next event, new ones run in a fresh instance`, async () => {
      const puppet = trapping((one) => one.trap());
      const stage = Stage.started(puppet, { config: { failurePolicy: policy } });
      const pausedRequests = Array.from({ length: 20 }, () => stage.stream());
      for (const stream of pausedRequests) stream.requestHead(false);
      puppet.on("proxy_on_response_headers", 1);
      const pausedResponse = stage.stream();
      pausedResponse.responseHead();
      puppet.on("proxy_on_request_headers", 0);
      const running = stage.stream();
      assert.equal(running.requestHead(false), HeadersStatus.CONTINUE);
      const first = stage.instance;

      pausedRequests[0]!.requestData(bodyOf("x"), false);
      // At once means: before the next stream asks, which takes the fresh instance.
      const next = stage.stream();
      assert.equal(stage.instance === first, false);
      assert.notEqual(next.requestHead(false), HeadersStatus.CONTINUE);
      assert.deepEqual(stage.names.slice(-2), ["proxy_on_context_create", "proxy_on_request_headers"]);

      await setImmediate();
      const open = policy === "FAIL_OPEN";
      for (const stream of pausedRequests.slice(1)) {
        assert.deepEqual(stream.events, open ? ["continueRequest"] : ["reply 503"]);
      }
      assert.deepEqual(pausedResponse.events, open ? ["continueResponse"] : ["reply 503"]);
      assert.deepEqual(running.events, []);
      const status = running.filter.onRequestTrailers(new HeaderMap());
      assert.equal(status, open ? 0 : 1);
      assert.deepEqual(running.events, open ? [] : ["reply 503"]);
      // The one that trapped had paused its headers: FAIL_OPEN must let those go too.
      assert.deepEqual(pausedRequests[0]!.events, open ? ["continueRequest"] : ["reply 503"]);
      assert.deepEqual(next.events, []);
      for (const stream of [...pausedRequests, pausedResponse, running, next]) stream.finish();
    });
  }

  test("a stream that was answered before is left alone", async () => {
    const puppet = new Puppet();
    const reply = puppet.call("proxy_send_local_response", 403, 0, 0, 0, 0, 0, 0, -1);
    puppet.on("proxy_on_request_headers", 1, reply);
    puppet.on("proxy_on_request_body", 0, puppet.trap());
    const stage = Stage.started(puppet);
    const answered = stage.stream();
    answered.requestHead();
    stage.stream().requestData(bodyOf("x"), true);
    await setImmediate();
    assert.deepEqual(answered.events, ["reply 403"]);
  });

  test("timers, ticks and calls of the dead instance are silent", async () => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 0, puppet.call("set_timer", 5));
    puppet.on("proxy_on_request_body", 0, puppet.trap());
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead(false);
    const old = stage.instance;
    const before = old.memory.bytes.readUInt32LE(1024);
    stage.stream().requestData(bodyOf("x"), true);
    await setTimeout(30);
    // The second stream's context_create and its trapping callback were the last.
    assert.equal(old.memory.bytes.readUInt32LE(1024), before + 2);
  });
});

describe("a plugin that keeps failing", () => {
  test("a restart that fails is tried again later, meanwhile streams get the policy", async () => {
    // The plugin refuses to start as long as the shared data holds "broken".
    const look = `(call $f${functionIndex("proxy_get_shared_data")} (i32.const 60000) (i32.const 6) (i32.const 60100) (i32.const 60104) (i32.const 60108))`;
    const extra = `(data (i32.const 60000) "broken") (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.ne ${look} (i32.const 0)))`;
    const puppet = new Puppet({ extra, callbacks: CALLBACKS.filter((name) => name !== "proxy_on_vm_start") });
    puppet.on("proxy_on_request_body", 0, puppet.trap());
    const stage = Stage.started(puppet, { config: { vmId: "keeps-failing" } });
    const { data } = stage.instance.facts.environment.shared;
    assert.equal(data.set("keeps-failing", Buffer.from("broken"), Buffer.from("1"), 0), Status.OK);
    stage.stream().requestData(bodyOf("x"), true);
    const first = stage.stream();
    assert.equal(first.requestHead(), HeadersStatus.STOP_ALL_AND_WATERMARK);
    assert.deepEqual(first.events, ["reply 503"]);
    assert.equal(first.responseHead(), HeadersStatus.CONTINUE);
    await setImmediate();
    const second = stage.stream();
    assert.equal(second.requestHead(), HeadersStatus.STOP_ALL_AND_WATERMARK);
    assert.deepEqual(second.events, ["reply 503"]);
    assert.equal(stage.stats.values.get("wasm.puppet.vm_reload_failure"), 1);
    data.delete("keeps-failing", Buffer.from("broken"), 0);
    while (stage.plugin.root === null) await setTimeout(5);
    assert.equal(stage.stream().requestHead(), HeadersStatus.CONTINUE);
    assert.equal(stage.stats.values.get("wasm.puppet.vm_reload_success"), 1);
  });

  test("traps in a row restart it only so often within a second", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 0, puppet.trap());
    const stage = Stage.started(puppet);
    const clock = new StillClock(t);
    for (let n = 0; n < INSTANCE_RESTARTS_PER_SECOND * 3; n++) {
      stage.stream().requestHead();
      await setImmediate();
    }
    const reloads = stage.stats.values.get("wasm.puppet.vm_reload")!;
    assert.ok(reloads <= INSTANCE_RESTARTS_PER_SECOND, `${reloads} restarts`);
    assert.ok(stage.stats.values.get("wasm.puppet.vm_reload_backoff")! >= 1);
    const stream = stage.stream();
    stream.requestHead();
    assert.deepEqual(stream.events, ["reply 503"]);
    clock.pass(1000);
    await setImmediate();
    assert.notEqual(stage.plugin.root, null, "the next second has come");
    stage.vm.close();
  });
});
