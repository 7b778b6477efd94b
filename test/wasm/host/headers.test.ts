import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as MapType from "../../../abi/map.ts";
import * as Status from "../../../abi/status.ts";
import { HeadersStatus } from "../../../runtime/http/filter.ts";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { ALLOCATOR_FAILS, ALLOCATOR_GROWS, Puppet } from "../puppet.ts";
import { bodyOf, Stage } from "../stage.ts";

const OUTSIDE = 0x7fff_0000;

describe("get_header_map_value", () => {
  test("gives the first value, whatever the case of the name", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const call = puppet.call("proxy_get_header_map_value", MapType.HTTP_REQUEST_HEADERS, ...puppet.text("X-A"), pp, sp);
    puppet.on("proxy_on_request_headers", 0, call);
    const stage = Stage.started(puppet);
    stage.stream({ request: [":path", "/", "x-a", "one", "x-a", "two"] }).requestHead();
    assert.equal(stage.status(call), Status.OK);
    assert.equal(stage.given(pp, sp).toString(), "one");
  });

  test("tells an absent header from an empty one, without asking the allocator", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const absent = puppet.call("proxy_get_header_map_value", 0, ...puppet.text("x-none"), pp, sp);
    const empty = puppet.call("proxy_get_header_map_value", 0, ...puppet.text("x-empty"), pp, sp);
    puppet.on("proxy_on_request_headers", 0, absent, empty);
    const stage = Stage.started(puppet);
    stage.stream({ request: [":path", "/", "x-empty", ""] }).requestHead();
    assert.equal(stage.status(absent), Status.NOT_FOUND);
    assert.equal(stage.status(empty), Status.OK);
    assert.equal(stage.u32(pp), 0);
    assert.equal(stage.u32(sp), 0);
  });

  test("an absent header is empty in ABI 0.1.0", () => {
    const puppet = new Puppet({ marker: "proxy_abi_version_0_1_0" });
    const call = puppet.call("proxy_get_header_map_value", 0, ...puppet.text("x-none"), puppet.cell(), puppet.cell());
    puppet.on("proxy_on_request_headers", 0, call);
    const stage = Stage.started(puppet);
    stage.stream().requestHead();
    assert.equal(stage.status(call), Status.OK);
  });

  test("bad map, bad pointers, wrong phase", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const key = puppet.text("x-a");
    const badMap = puppet.call("proxy_get_header_map_value", 8, ...key, pp, sp);
    const hugeMap = puppet.call("proxy_get_header_map_value", -1, ...key, pp, sp);
    const badKey = puppet.call("proxy_get_header_map_value", 0, OUTSIDE, 3, pp, sp);
    const badSize = puppet.call("proxy_get_header_map_value", 0, key[0], -1, pp, sp);
    const badResult = puppet.call("proxy_get_header_map_value", 0, ...key, OUTSIDE, sp);
    const tooEarly = puppet.call("proxy_get_header_map_value", MapType.HTTP_RESPONSE_HEADERS, ...key, pp, sp);
    const noCall = puppet.call("proxy_get_header_map_value", MapType.HTTP_CALL_RESPONSE_HEADERS, ...key, pp, sp);
    puppet.on("proxy_on_request_headers", 0, badMap, hugeMap, badKey, badSize, badResult, tooEarly, noCall);
    const stage = Stage.started(puppet);
    stage.stream().requestHead();
    assert.equal(stage.status(badMap), Status.BAD_ARGUMENT);
    assert.equal(stage.status(hugeMap), Status.BAD_ARGUMENT);
    assert.equal(stage.status(badKey), Status.INVALID_MEMORY_ACCESS);
    assert.equal(stage.status(badSize), Status.INVALID_MEMORY_ACCESS);
    assert.equal(stage.status(badResult), Status.INVALID_MEMORY_ACCESS);
    assert.equal(stage.status(tooEarly), Status.BAD_ARGUMENT);
    assert.equal(stage.status(noCall), Status.BAD_ARGUMENT);
    assert.equal(stage.instance.failed, false);
  });

  test("survives memory growth and failure inside the allocator", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const call = puppet.call("proxy_get_header_map_value", 0, ...puppet.text("x-a"), pp, sp);
    puppet.on("proxy_on_request_headers", 0, call);
    const stage = Stage.started(puppet);
    stage.poke(ALLOCATOR_GROWS, 1);
    stage.stream().requestHead();
    assert.equal(stage.status(call), Status.OK);
    assert.equal(stage.given(pp, sp).toString(), "1");
    stage.poke(ALLOCATOR_FAILS, 1);
    stage.stream().requestHead();
    assert.equal(stage.status(call), Status.INVALID_MEMORY_ACCESS);
  });

  test("reads a constant anew when the guest has overwritten it", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const name = puppet.text("x-first-name");
    const call = puppet.call("proxy_get_header_map_value", 0, ...name, pp, sp);
    puppet.on("proxy_on_request_headers", 0, call);
    const stage = Stage.started(puppet);
    const request = [":path", "/", "x-first-name", "a", "x-other-name", "b", "x-other-nama", "c"];
    for (const [text, value] of [
      ["x-first-name", "a"],
      ["x-other-name", "b"],
      ["x-other-nama", "c"],
      ["x-first-name", "a"],
    ] as const) {
      stage.instance.memory.bytes.write(text, name[0], "latin1");
      stage.stream({ request }).requestHead();
      assert.equal(stage.given(pp, sp).toString(), value, text);
    }
  });
});

describe("changing maps", () => {
  test("add appends, replace leaves one, remove takes all and tolerates none", () => {
    const puppet = new Puppet();
    const add = puppet.call("proxy_add_header_map_value", 0, ...puppet.text("X-A"), ...puppet.text("2"));
    const replace = puppet.call("proxy_replace_header_map_value", 0, ...puppet.text("x-b"), ...puppet.text("3"));
    const create = puppet.call("proxy_replace_header_map_value", 0, ...puppet.text("x-new"), ...puppet.text(""));
    const remove = puppet.call("proxy_remove_header_map_value", 0, ...puppet.text("x-c"));
    const removeNone = puppet.call("proxy_remove_header_map_value", 0, ...puppet.text("x-none"));
    const path = puppet.call("proxy_replace_header_map_value", 0, ...puppet.text(":path"), ...puppet.text("/changed"));
    puppet.on("proxy_on_request_headers", 0, add, replace, create, remove, removeNone, path);
    const stage = Stage.started(puppet);
    const stream = stage.stream({
      request: [":path", "/", "x-a", "1", "x-b", "1", "x-b", "2", "x-c", "1", "x-c", "2"],
    });
    stream.requestHead();
    assert.deepEqual(stream.requestHeaders!.list, [
      ":path",
      "/changed",
      "x-a",
      "1",
      "x-b",
      "3",
      "x-a",
      "2",
      "x-new",
      "",
    ]);
    for (const call of [add, replace, create, remove, removeNone, path]) assert.equal(stage.status(call), Status.OK);
    assert.ok(stream.routeClears > 0);
  });

  test("names and values that would split a message are refused", () => {
    const puppet = new Puppet();
    const attempts = [
      ["x a", "1"],
      ["", "1"],
      [":", "1"],
      ["x-long-name\r\n", "1"],
      ["x-\u00e4", "1"],
      ["x-a", "1\r\nx-b: 2"],
      ["x-a", "a\nb"],
      ["x-a", "longer than four\0"],
    ].map(([name, value]) =>
      puppet.call("proxy_add_header_map_value", 0, ...puppet.text(name!), ...puppet.text(value!)),
    );
    puppet.on("proxy_on_request_headers", 0, ...attempts);
    const stage = Stage.started(puppet);
    const stream = stage.stream({ request: [":path", "/"] });
    stream.requestHead();
    for (const call of attempts) assert.equal(stage.status(call), Status.BAD_ARGUMENT);
    assert.deepEqual(stream.requestHeaders!.list, [":path", "/"]);
  });

  test("pseudo-headers keep to what a first line can carry", () => {
    const puppet = new Puppet();
    const attempts: [name: string, value: string, status: number][] = [
      [":path", "/a b HTTP/1.1", Status.BAD_ARGUMENT],
      [":path", "", Status.BAD_ARGUMENT],
      [":method", "GE T", Status.BAD_ARGUMENT],
      [":authority", "a b", Status.BAD_ARGUMENT],
      [":unknown", "x", Status.BAD_ARGUMENT],
      [":status", "200", Status.OK],
      [":status", "teapot", Status.BAD_ARGUMENT],
      [":status", "99", Status.BAD_ARGUMENT],
      [":method", "PUT", Status.OK],
      [":path", "/ok?x=%20", Status.OK],
    ];
    const calls = attempts.map(([name, value]) =>
      puppet.call("proxy_replace_header_map_value", 0, ...puppet.text(name), ...puppet.text(value)),
    );
    puppet.on(
      "proxy_on_request_headers",
      0,
      puppet.call("proxy_remove_header_map_value", 0, ...puppet.text(":path")),
      ...calls,
    );
    const stage = Stage.started(puppet);
    const stream = stage.stream({ request: [":method", "GET", ":path", "/", ":authority", "a", "x", "1"] });
    assert.equal(stream.requestHead(), HeadersStatus.CONTINUE);
    attempts.forEach(([name, value, status], n) => assert.equal(stage.status(calls[n]!), status, `${name} ${value}`));
    assert.equal(stream.requestHeaders!.get(":path"), "/ok?x=%20");
    assert.ok(stream.requestHeaders!.list.indexOf(":path") < stream.requestHeaders!.list.indexOf("x"));
  });

  test("a message that lost what it needs is answered instead of sent", () => {
    for (const [callback, map, name, expected] of [
      ["proxy_on_request_headers", 0, ":path", "reply 503"],
      ["proxy_on_request_headers", 0, ":method", "reply 503"],
      ["proxy_on_response_headers", 2, ":status", "reply 500"],
    ] as const) {
      const puppet = new Puppet();
      puppet.on(callback, 0, puppet.call("proxy_remove_header_map_value", map, ...puppet.text(name)));
      const stream = Stage.started(puppet).stream();
      const status = callback === "proxy_on_request_headers" ? stream.requestHead() : stream.responseHead();
      assert.notEqual(status, HeadersStatus.CONTINUE);
      assert.deepEqual(stream.events, [expected]);
      assert.match(stream.replies[0]!.details, /^filter_removed_required_/);
    }
  });

  test("headers are closed once their callback went on, trailers and answers are read-only elsewhere", () => {
    const puppet = new Puppet();
    const late = puppet.call("proxy_add_header_map_value", 0, ...puppet.text("x-late"), ...puppet.text("1"));
    const read = puppet.call("proxy_get_header_map_value", 0, ...puppet.text("x-a"), puppet.cell(), puppet.cell());
    const answer = puppet.call("proxy_add_header_map_value", 6, ...puppet.text("x"), ...puppet.text("1"));
    const gone = puppet.call("proxy_replace_header_map_value", 2, ...puppet.text("x"), ...puppet.text("1"));
    const remove = puppet.call("proxy_remove_header_map_value", 2, ...puppet.text("x"));
    puppet.on("proxy_on_request_headers", 0, answer);
    puppet.on("proxy_on_response_headers", 0, late, read);
    puppet.on("proxy_on_response_body", 0, gone, remove);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stream.responseHead([":status", "200"], false);
    stream.filter.onResponseData(bodyOf("x"), true);
    for (const call of [late, answer, gone, remove]) assert.equal(stage.status(call), Status.BAD_ARGUMENT);
    assert.equal(stage.status(read), Status.OK);
  });

  test("trailers can be added by the body callback that ends the stream, and only there", () => {
    const puppet = new Puppet();
    const add = puppet.call("proxy_add_header_map_value", 1, ...puppet.text("x-sum"), ...puppet.text("9"));
    puppet.on("proxy_on_request_body", 0, add);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead(false);
    const body = bodyOf("x");
    stream.requestData(body, false);
    assert.equal(stage.status(add), Status.BAD_ARGUMENT);
    assert.equal(stream.trailersAdded, 0);
    stream.requestData(body, true);
    assert.equal(stage.status(add), Status.OK);
    assert.deepEqual(stream.requestTrailers?.list, ["x-sum", "9"]);
  });
});

describe("whole maps", () => {
  test("pairs come out and go back byte for byte", () => {
    const puppet = new Puppet();
    const [pp, sp, size] = [puppet.cell(), puppet.cell(), puppet.cell()];
    const get = puppet.call("proxy_get_header_map_pairs", 0, pp, sp);
    const set = puppet.call("proxy_set_header_map_pairs", 0, { load: pp }, { load: sp });
    const bytes = puppet.call("proxy_get_header_map_size", 0, size);
    puppet.on("proxy_on_request_headers", 0, get, set, bytes);
    const stage = Stage.started(puppet);
    const list = [":path", "/", "x-a", "\u00ff\u0080", "x-a", "", "x-b", "2"];
    const stream = stage.stream({ request: [...list] });
    stream.requestHead();
    assert.deepEqual(stage.given(pp, sp), encodePairs(list));
    assert.deepEqual(stream.requestHeaders!.list, list);
    assert.equal(stage.status(set), Status.OK);
    assert.equal(stage.u32(size), list.join("").length);
  });

  test("set puts pseudo-headers first and names in lower case", () => {
    const puppet = new Puppet();
    const pairs = encodePairs(["X-A", "1", ":path", "/p"]);
    puppet.on("proxy_on_request_headers", 0, puppet.call("proxy_set_header_map_pairs", 0, ...puppet.text(pairs)));
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    assert.deepEqual(stream.requestHeaders!.list, [":path", "/p", "x-a", "1"]);
  });

  test("legal empties clear, malformed and oversized pairs are refused", () => {
    const count = (n: number): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(n);
      return bytes;
    };
    const cases: [Buffer, number][] = [
      [Buffer.alloc(0), Status.OK],
      [Buffer.alloc(1), Status.OK],
      [Buffer.alloc(4), Status.OK],
      [count(1), Status.BAD_ARGUMENT],
      [count(1025), Status.BAD_ARGUMENT],
      [Buffer.from("010000000300000001000000782d61", "hex"), Status.BAD_ARGUMENT],
      [Buffer.concat([encodePairs(["a", "b"]), Buffer.of(0)]), Status.BAD_ARGUMENT],
      [encodePairs(["a", "b\r\n"]), Status.BAD_ARGUMENT],
    ];
    for (const [bytes, expected] of cases) {
      const puppet = new Puppet();
      const set = puppet.call("proxy_set_header_map_pairs", 0, ...puppet.text(bytes));
      puppet.on("proxy_on_request_headers", 0, set);
      const stage = Stage.started(puppet);
      const stream = stage.stream();
      const before = stream.requestHeaders!.list.length;
      stream.requestHead();
      assert.equal(stage.status(set), expected, bytes.toString("hex"));
      assert.equal(stream.requestHeaders!.list.length, expected === Status.OK ? 0 : before);
    }
  });

  test("what cannot be reached has no pairs and no size", () => {
    const puppet = new Puppet();
    const [pp, sp, size] = [puppet.cell(), puppet.cell(), puppet.cell()];
    const pairs = puppet.call("proxy_get_header_map_pairs", 3, pp, sp);
    const bytes = puppet.call("proxy_get_header_map_size", 3, size);
    const badSize = puppet.call("proxy_get_header_map_size", 0, OUTSIDE);
    const set = puppet.call("proxy_set_header_map_pairs", 3, 0, 0);
    puppet.on("proxy_on_request_headers", 0, pairs, bytes, badSize, set);
    const stage = Stage.started(puppet);
    stage.stream().requestHead();
    assert.equal(stage.status(pairs), Status.OK);
    assert.equal(stage.u32(sp), 0);
    assert.equal(stage.status(bytes), Status.BAD_ARGUMENT);
    assert.equal(stage.status(badSize), Status.INVALID_MEMORY_ACCESS);
    assert.equal(stage.status(set), Status.BAD_ARGUMENT);
  });

  test("in the log phase everything can be read and nothing changed", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const read = puppet.call("proxy_get_header_map_value", 2, ...puppet.text("x-r"), pp, sp);
    const absentMap = puppet.call("proxy_get_header_map_value", 3, ...puppet.text("x-r"), pp, sp);
    const write = puppet.call("proxy_add_header_map_value", 2, ...puppet.text("x"), ...puppet.text("1"));
    puppet.on("proxy_on_log", 0, read, absentMap, write);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stream.responseHead();
    stream.finish();
    assert.equal(stage.status(read), Status.OK);
    assert.equal(stage.status(absentMap), Status.NOT_FOUND);
    assert.equal(stage.status(write), Status.BAD_ARGUMENT);
  });
});
