import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as Status from "../../../abi/status.ts";
import { MAX_GUEST_LOG_BYTES } from "../../../runtime/limits.ts";
import { Puppet } from "../puppet.ts";
import type { Call } from "../puppet.ts";
import { Stage } from "../stage.ts";

const OUTSIDE = 0x7fff_0000;

function run(puppet: Puppet, calls: Call[], config = {}): { stage: Stage; statuses: number[] } {
  puppet.on("proxy_on_request_headers", 0, ...calls);
  const stage = Stage.started(puppet, { config });
  stage.stream().requestHead();
  return { stage, statuses: calls.map((call) => stage.status(call)) };
}

function utf16(puppet: Puppet, text: string): number {
  const bytes = Buffer.alloc(4 + text.length * 2);
  bytes.writeUInt32LE(text.length * 2);
  bytes.write(text, 4, "utf16le");
  return puppet.text(bytes)[0] + 4;
}

function u32s(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, n) => bytes.writeUInt32LE(value, n * 4));
  return bytes;
}

describe("log", () => {
  test("all six levels with plugin, root and vm; level 6 and bad pointers are refused; long ones are cut", () => {
    const puppet = new Puppet();
    const text = puppet.text(Buffer.from("h\u00e9llo"));
    const calls = [0, 1, 2, 3, 4, 5, 6].map((level) => puppet.call("proxy_log", level, ...text));
    const outside = puppet.call("proxy_log", 2, OUTSIDE, 1);
    const long = puppet.call("proxy_log", 2, 0, MAX_GUEST_LOG_BYTES + 100);
    const { stage, statuses } = run(puppet, [...calls, outside, long], { name: "n", rootId: "r", vmId: "v" });
    assert.deepEqual(statuses, [0, 0, 0, 0, 0, 0, Status.BAD_ARGUMENT, Status.INVALID_MEMORY_ACCESS, 0]);
    assert.deepEqual(
      stage.log.lines.slice(0, 6),
      [0, 1, 2, 3, 4, 5].map((level) => `${level} wasm log n r v: h\u00e9llo`),
    );
    assert.ok(stage.log.lines[6]!.length < MAX_GUEST_LOG_BYTES + 100);
  });

  test("the level can be asked for", () => {
    const puppet = new Puppet();
    const level = puppet.cell();
    const get = puppet.call("proxy_get_log_level", level);
    puppet.on(
      "proxy_on_request_headers",
      0,
      get,
      puppet.call("proxy_log", 2, ...puppet.text("quiet")),
      puppet.call("proxy_get_log_level", OUTSIDE),
    );
    const stage = Stage.started(puppet);
    stage.log.level = 3;
    stage.stream().requestHead();
    assert.equal(stage.u32(level), 3);
    assert.deepEqual(stage.log.lines, []);
  });
});

describe("time", () => {
  test("nanoseconds of the wall clock; unaligned is fine, outside is not", () => {
    const puppet = new Puppet();
    const cell = puppet.text("0123456789abcdef")[0] + 1;
    const before = BigInt(Date.now()) * 1_000_000n;
    const { stage, statuses } = run(puppet, [
      puppet.call("proxy_get_current_time_nanoseconds", cell),
      puppet.call("proxy_get_current_time_nanoseconds", OUTSIDE),
    ]);
    assert.deepEqual(statuses, [0, Status.INVALID_MEMORY_ACCESS]);
    const difference = stage.u64(cell) - before;
    assert.ok(difference > -100_000_000n && difference < 60_000_000_000n, String(difference));
  });
});

describe("contexts", () => {
  test("the effective context is chosen for one callback only, unknown ids are refused", () => {
    const puppet = new Puppet();
    const calls = [
      puppet.call("proxy_set_effective_context", 1),
      puppet.call("proxy_get_header_map_value", 0, ...puppet.text("x-a"), puppet.cell(), puppet.cell()),
      puppet.call("proxy_set_effective_context", 77),
      puppet.call("proxy_set_effective_context", 0),
      puppet.call("proxy_set_effective_context", -1),
    ];
    const again = puppet.call("proxy_get_header_map_value", 0, ...puppet.text("x-a"), puppet.cell(), puppet.cell());
    puppet.on("proxy_on_response_headers", 0, again);
    puppet.on("proxy_on_request_headers", 0, ...calls);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stream.responseHead();
    const bad = Status.BAD_ARGUMENT;
    assert.deepEqual(
      calls.map((call) => stage.status(call)),
      [0, bad, bad, bad, bad],
    );
    assert.equal(stage.status(again), Status.OK);
  });

  test("get_status is calm when nothing has failed", () => {
    const puppet = new Puppet();
    const [code, pp, sp] = [puppet.cell(), puppet.cell(), puppet.cell()];
    const { stage, statuses } = run(puppet, [
      puppet.call("proxy_get_status", code, pp, sp),
      puppet.call("proxy_get_status", OUTSIDE, pp, sp),
    ]);
    assert.deepEqual(statuses, [0, Status.INVALID_MEMORY_ACCESS]);
    assert.equal(stage.u32(code), 0);
  });
});

describe("foreign functions by name", () => {
  test("clear_route_cache is known, others are not found, a bad pointer is told", () => {
    const puppet = new Puppet();
    const { statuses } = run(puppet, [
      puppet.call("proxy_call_foreign_function", ...puppet.text("clear_route_cache"), 0, 0, 0, 0),
      puppet.call("proxy_call_foreign_function", ...puppet.text("no_such_function"), 0, 0, 0, 0),
      puppet.call("proxy_call_foreign_function", OUTSIDE, 9, 0, 0, 0, 0),
    ]);
    assert.deepEqual(statuses, [0, Status.NOT_FOUND, Status.INVALID_MEMORY_ACCESS]);
  });
});

describe("wasi", () => {
  test("fd_write joins its pieces into one line of the log", () => {
    const puppet = new Puppet();
    const [a, b] = [puppet.text("one "), puppet.text("two\n")];
    const pieces = puppet.text(u32s(...a, ...b))[0];
    const bad = puppet.text(u32s(OUTSIDE, 4))[0];
    const written = puppet.cell();
    const { stage, statuses } = run(puppet, [
      puppet.call("fd_write", 1, pieces, 2, written),
      puppet.call("fd_write", 2, pieces, 1, written + 4),
      puppet.call("fd_write", 3, pieces, 2, written),
      puppet.call("fd_write", 1, bad, 1, written),
      puppet.call("fd_write", 1, OUTSIDE, 1, written),
      puppet.call("fd_write", 1, pieces, -1, written),
    ]);
    assert.deepEqual(statuses, [0, 0, 8, 21, 21, 28]);
    assert.equal(stage.u32(written), 8);
    assert.deepEqual(
      stage.log.lines.filter((line) => !line.startsWith("1 ")).map((line) => line.replace(/wasm log .*: /, "")),
      ["2 one two", "4 one "],
    );
  });

  test("fd_write in pieces makes one line; what has no newline is a line when the callback is over", () => {
    const puppet = new Puppet();
    const write = (fd: number, text: string): Call =>
      puppet.call("fd_write", fd, puppet.text(u32s(...puppet.text(text)))[0], 1, puppet.cell());
    const { stage } = run(puppet, [
      write(2, "panicked "),
      write(1, "other\n\n"),
      write(2, "at 3\u00c3"),
      write(2, "\u00a9\nthe end"),
    ]);
    assert.deepEqual(
      stage.log.lines.map((line) => line.replace(/wasm log .*: /, "")),
      ["2 other", "4 panicked at 3é", "4 the end"],
    );
  });

  test("clocks, random, environment, the rest", () => {
    const puppet = new Puppet();
    const [first, second, count, size, event] = [
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
    ];
    const pointers = puppet.text(Buffer.alloc(16))[0];
    const text = puppet.text(Buffer.alloc(32))[0];
    const random = puppet.text(Buffer.alloc(32))[0];
    const { stage, statuses } = run(
      puppet,
      [
        puppet.call("clock_time_get", 1, 0, first),
        puppet.call("clock_time_get", 1, 0, second),
        puppet.call("clock_time_get", 2, 0, first),
        puppet.call("clock_res_get", 0, event),
        puppet.call("random_get", random, 32),
        puppet.call("random_get", random, 0),
        puppet.call("random_get", 0, 65_537),
        puppet.call("random_get", OUTSIDE, 8),
        puppet.call("environ_sizes_get", count, size),
        puppet.call("environ_get", pointers, text),
        puppet.call("poll_oneoff", 0, 0, 1, event),
        puppet.call("sched_yield"),
        puppet.call("fd_prestat_get", 3, 0),
        puppet.call("path_open", 3, 0, 0, 0, 0, 0, 0, 0, 0),
        puppet.call("fd_fdstat_get", 1, text + 24),
        puppet.call("fd_fdstat_get", 5, text),
        puppet.call("args_sizes_get", event, event + 4),
      ],
      { environment: { A: "1", LONG: "value" } },
    );
    assert.deepEqual(statuses, [0, 0, 58, 0, 0, 0, 28, 21, 0, 0, 0, 0, 8, 44, 0, 8, 0]);
    assert.ok(stage.u64(second) >= stage.u64(first));
    assert.deepEqual([stage.u32(count), stage.u32(size)], [2, 15]);
    assert.equal(stage.bytes(text, 15).toString(), "A=1\0LONG=value\0");
    assert.deepEqual([stage.u32(pointers), stage.u32(pointers + 4)], [text, text + 4]);
    assert.ok(stage.bytes(random, 32).some((byte) => byte !== 0));
  });
});

describe("AssemblyScript", () => {
  test("trace, console, seed and clocks", () => {
    const puppet = new Puppet();
    const text = utf16(puppet, "gr\u00fc\u00df");
    const { stage } = run(puppet, [
      puppet.call("trace", text, 2, 1, 2, 3, 4, 5),
      puppet.call("console.log", text),
      puppet.call("console.error", text),
      puppet.call("console.assert", 0, text),
      puppet.call("console.assert", 1, text),
      puppet.call("console.log", OUTSIDE),
      puppet.call("seed"),
      puppet.call("Date.now"),
      puppet.call("emscripten_notify_memory_growth", 0),
    ]);
    assert.deepEqual(
      stage.log.lines.map((line) => line.replace(/wasm log .*?root : /, "")),
      [
        "2 trace: gr\u00fc\u00df 1 2",
        "2 gr\u00fc\u00df",
        "4 gr\u00fc\u00df",
        "4 assertion failed: gr\u00fc\u00df",
        "2 ",
      ],
    );
  });

  test("JavaScript's Math", () => {
    const puppet = new Puppet();
    const { statuses } = run(puppet, [
      puppet.call("Math.pow", 2, 10),
      puppet.call("Math.max", -3, 5),
      puppet.call("Math.sqrt", 81),
      puppet.call("Math.random"),
    ]);
    assert.deepEqual(statuses, [1024, 5, 9, 0]);
  });

  test("abort ends the instance with message, file and line", () => {
    const puppet = new Puppet();
    const { stage } = run(puppet, []);
    puppet.on(
      "proxy_on_request_headers",
      0,
      puppet.call("abort", utf16(puppet, "oops"), utf16(puppet, "filter.ts"), 12, 5),
    );
    stage.stream().requestHead();
    assert.equal(stage.plugin.lastFailure, "abort: oops at filter.ts:12:5");
  });
});

describe("capabilities", () => {
  test("what is not listed answers, and callbacks that are not listed are not called", () => {
    const puppet = new Puppet();
    const log = puppet.call("proxy_log", 2, ...puppet.text("x"));
    const time = puppet.call("proxy_get_current_time_nanoseconds", puppet.cell());
    const yielding = puppet.call("sched_yield");
    puppet.on("proxy_on_request_headers", 0, log, time, yielding);
    puppet.on("proxy_on_response_headers", 1);
    const stage = Stage.started(puppet, {
      config: { allowedCapabilities: ["proxy_log", "proxy_on_request_headers", "proxy_on_vm_start"] },
    });
    const stream = stage.stream();
    stream.requestHead();
    assert.equal(stream.responseHead(), 0);
    assert.deepEqual(
      [log, time, yielding].map((call) => stage.status(call)),
      [0, Status.INTERNAL_FAILURE, 76],
    );
    assert.deepEqual(stage.names, ["proxy_on_vm_start", "proxy_on_request_headers"]);
  });
});
