import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as BufferType from "../../../abi/buffer.ts";
import * as Status from "../../../abi/status.ts";
import { DataStatus } from "../../../runtime/http/filter.ts";
import { ALLOCATOR_CALLS, Puppet } from "../puppet.ts";
import { bodyOf, Stage } from "../stage.ts";

const OUTSIDE = 0x7fff_0000;
const ALL = 0xffff_ffff;

/** Runs one set_buffer_bytes over the request body `before`. */
function edit(before: string, start: number, length: number, data: string): { body: string; status: number } {
  const puppet = new Puppet();
  const set = puppet.call("proxy_set_buffer_bytes", BufferType.HTTP_REQUEST_BODY, start, length, ...puppet.text(data));
  puppet.on("proxy_on_request_body", 0, set);
  const stage = Stage.started(puppet);
  const stream = stage.stream();
  stream.requestHead(false);
  const body = bodyOf(before);
  stream.requestData(body, true);
  return { body: body.bytes().toString(), status: stage.status(set) };
}

describe("set_buffer_bytes", () => {
  const cases: [name: string, start: number, length: number, data: string, expected: string][] = [
    ["prepends", 0, 0, "ab", "abhello"],
    ["replaces all", 0, 5, "ab", "ab"],
    ["replaces more than all", 0, ALL, "ab", "ab"],
    ["replaces the first bytes", 0, 2, "J", "Jllo"],
    ["appends at the end", 5, 0, "!", "hello!"],
    ["appends behind the end", ALL, 0, "!", "hello!"],
    ["replaces in the middle", 1, 3, "EL", "hELo"],
    ["inserts in the middle", 2, 0, "-", "he-llo"],
    ["empties", 0, ALL, "", ""],
  ];
  for (const [name, start, length, data, expected] of cases) {
    test(name, () => {
      assert.deepEqual(edit("hello", start, length, data), { body: expected, status: Status.OK });
    });
  }

  test("bad pointer, bad buffer, read-only buffers, absent buffer", () => {
    const puppet = new Puppet();
    const outside = puppet.call("proxy_set_buffer_bytes", 0, 0, 0, OUTSIDE, 4);
    const unknown = puppet.call("proxy_set_buffer_bytes", 9, 0, 0, 0, 0);
    const configuration = puppet.call(
      "proxy_set_buffer_bytes",
      BufferType.PLUGIN_CONFIGURATION,
      0,
      0,
      ...puppet.text("x"),
    );
    const absent = puppet.call("proxy_set_buffer_bytes", BufferType.HTTP_RESPONSE_BODY, 0, 0, ...puppet.text("x"));
    const answer = puppet.call("proxy_set_buffer_bytes", BufferType.HTTP_CALL_RESPONSE_BODY, 0, 0, ...puppet.text("x"));
    puppet.on("proxy_on_request_body", 0, outside, unknown, configuration, absent, answer);
    const stage = Stage.started(puppet);
    stage.stream().requestData(bodyOf("x"), false);
    assert.equal(stage.status(outside), Status.INVALID_MEMORY_ACCESS);
    assert.equal(stage.status(unknown), Status.BAD_ARGUMENT);
    assert.equal(stage.status(configuration), Status.BAD_ARGUMENT);
    assert.equal(stage.status(absent), Status.NOT_FOUND);
    assert.equal(stage.status(answer), Status.NOT_FOUND);
  });
});

describe("get_buffer_bytes", () => {
  function read(start: number, max: number): { text: string; status: number; allocations: number } {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const get = puppet.call("proxy_get_buffer_bytes", BufferType.HTTP_REQUEST_BODY, start, max, pp, sp);
    puppet.on("proxy_on_request_body", 0, get);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead(false);
    const before = stage.u32(ALLOCATOR_CALLS);
    stream.requestData(bodyOf("hello"), true);
    return {
      text: stage.given(pp, sp).toString(),
      status: stage.status(get),
      allocations: stage.u32(ALLOCATOR_CALLS) - before,
    };
  }
  const cases: [start: number, max: number, expected: string, allocations: number][] = [
    [0, ALL, "hello", 1],
    [0, 5, "hello", 1],
    [1, 2, "el", 1],
    [3, 100, "lo", 1],
    [ALL, ALL, "", 0],
    [5, 1, "", 0],
    [0, 0, "", 0],
  ];
  for (const [start, max, text, allocations] of cases) {
    test(`${start} ${max}`, () => {
      assert.deepEqual(read(start, max), { text, status: Status.OK, allocations });
    });
  }

  test("bad buffer, bad pointer, no body in header callbacks", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const unknown = puppet.call("proxy_get_buffer_bytes", 9, 0, 1, pp, sp);
    const absent = puppet.call("proxy_get_buffer_bytes", 0, 0, 1, pp, sp);
    const foreign = puppet.call("proxy_get_buffer_bytes", BufferType.CALL_DATA, 0, 1, pp, sp);
    const outside = puppet.call("proxy_get_buffer_bytes", BufferType.VM_CONFIGURATION, 0, 1, OUTSIDE, sp);
    puppet.on("proxy_on_request_headers", 0, unknown, absent, foreign, outside);
    const stage = Stage.started(puppet);
    stage.stream().requestHead();
    assert.equal(stage.status(unknown), Status.BAD_ARGUMENT);
    assert.equal(stage.status(absent), Status.NOT_FOUND);
    assert.equal(stage.status(foreign), Status.NOT_FOUND);
    assert.equal(stage.status(outside), Status.INVALID_MEMORY_ACCESS);
  });

  test("configurations are given as they are", () => {
    const puppet = new Puppet();
    const [vp, vs, cp, cs] = [puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell()];
    puppet.on(
      "proxy_on_vm_start",
      1,
      puppet.call("proxy_get_buffer_bytes", BufferType.VM_CONFIGURATION, 0, ALL, vp, vs),
    );
    puppet.on(
      "proxy_on_configure",
      1,
      puppet.call("proxy_get_buffer_bytes", BufferType.PLUGIN_CONFIGURATION, 0, ALL, cp, cs),
    );
    const stage = Stage.started(puppet);
    assert.equal(stage.given(vp, vs).toString(), "vm configuration");
    assert.equal(stage.given(cp, cs).toString(), "plugin configuration");
  });
});

describe("body semantics", () => {
  test("a paused body is offered whole, and can be read from other callbacks while it is held", () => {
    const puppet = new Puppet();
    const [pp, sp, length, flags] = [puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell()];
    const held = puppet.call("proxy_get_buffer_bytes", 0, 0, ALL, pp, sp);
    const status = puppet.call("proxy_get_buffer_status", 0, length, flags);
    puppet.on("proxy_on_request_body", 1);
    puppet.on("proxy_on_response_headers", 0, held, status);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead(false);
    const body = bodyOf("first");
    assert.equal(stream.requestData(body, false), DataStatus.STOP_AND_BUFFER);
    body.append(Buffer.from(" second"));
    stream.requestData(body, false);
    assert.deepEqual(stage.trace.slice(-1)[0]!.args, [2, 12, 0]);
    stream.bufferedRequestBody = body;
    stream.responseHead();
    assert.equal(stage.given(pp, sp).toString(), "first second");
    assert.equal(stage.u32(length), 12);
    assert.equal(stage.u32(flags), 0);
  });

  test("get_configuration of ABI 0.1.0 depends on the callback", () => {
    const puppet = new Puppet({ marker: "proxy_abi_version_0_1_0" });
    const [vp, vs, cp, cs] = [puppet.cell(), puppet.cell(), puppet.cell(), puppet.cell()];
    puppet.on("proxy_on_vm_start", 1, puppet.call("proxy_get_configuration", vp, vs));
    puppet.on("proxy_on_configure", 1, puppet.call("proxy_get_configuration", cp, cs));
    const stage = Stage.started(puppet);
    assert.equal(stage.given(vp, vs).toString(), "vm configuration");
    assert.equal(stage.given(cp, cs).toString(), "plugin configuration");
  });
});
