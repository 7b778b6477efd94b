import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { describe, test } from "node:test";
import * as Status from "../../../abi/status.ts";
import { MAX_METRIC_NAME_BYTES, MAX_SHARED_KEY_BYTES } from "../../../runtime/limits.ts";
import { SharedStore } from "../../../runtime/wasm/shared.ts";
import { Puppet } from "../puppet.ts";
import type { Call } from "../puppet.ts";
import { Stage } from "../stage.ts";

const OUTSIDE = 0x7fff_0000;
const shared = SharedStore.create();

/** Makes the calls in one callback and gives their statuses. */
function run(puppet: Puppet, calls: Call[], config = {}): { stage: Stage; statuses: number[] } {
  puppet.on("proxy_on_request_headers", 0, ...calls);
  const stage = Stage.started(puppet, { shared, config });
  stage.stream().requestHead();
  return { stage, statuses: calls.map((call) => stage.status(call)) };
}

describe("shared data", () => {
  test("set, get with cas, stale cas, delete by null, empty stays", () => {
    const puppet = new Puppet();
    const key = puppet.text("the-key");
    const [pp, sp, cas] = [puppet.cell(), puppet.cell(), puppet.cell()];
    const { stage, statuses } = run(puppet, [
      puppet.call("proxy_get_shared_data", ...key, pp, sp, cas),
      puppet.call("proxy_set_shared_data", ...key, ...puppet.text("one"), 0),
      puppet.call("proxy_get_shared_data", ...key, pp, sp, cas),
      puppet.call("proxy_set_shared_data", ...key, ...puppet.text("two"), { load: cas }),
      puppet.call("proxy_set_shared_data", ...key, ...puppet.text("three"), { load: cas }),
      puppet.call("proxy_set_shared_data", ...key, puppet.cell(), 0, 0),
      puppet.call("proxy_get_shared_data", ...key, pp, sp, cas),
      puppet.call("proxy_set_shared_data", ...key, 0, 0, 0),
      puppet.call("proxy_get_shared_data", ...key, pp, sp, cas),
    ]);
    assert.deepEqual(statuses, [Status.NOT_FOUND, 0, 0, 0, Status.CAS_MISMATCH, 0, 0, 0, Status.NOT_FOUND]);
    assert.notEqual(stage.u32(cas), 0);
    assert.equal(stage.u32(sp), 0);
  });

  test("no value is an empty one to modules before 0.2.1, as Go's SDK needs it", () => {
    const puppet = new Puppet({ marker: "proxy_abi_version_0_2_0" });
    const key = puppet.text("go-key");
    const [pp, sp, cas] = [puppet.cell(), puppet.cell(), puppet.cell()];
    const { stage, statuses } = run(puppet, [
      puppet.call("proxy_set_shared_data", ...key, 0, 0, 0),
      puppet.call("proxy_get_shared_data", ...key, pp, sp, cas),
      puppet.call("proxy_set_shared_data", ...key, ...puppet.text("one"), { load: cas }),
      puppet.call("proxy_set_shared_data", ...key, 0, 0, 0),
      puppet.call("proxy_get_shared_data", ...key, pp, sp, cas),
    ]);
    assert.deepEqual(statuses, [0, 0, 0, 0, 0]);
    assert.deepEqual([stage.u32(pp), stage.u32(sp)], [0, 0]);
  });

  test("bad pointers and keys over the limit", () => {
    const puppet = new Puppet();
    const key = puppet.text("k");
    const long = puppet.text("k".repeat(MAX_SHARED_KEY_BYTES + 1));
    const cell = puppet.cell();
    const { statuses } = run(puppet, [
      puppet.call("proxy_get_shared_data", OUTSIDE, 4, cell, cell, cell),
      puppet.call("proxy_get_shared_data", ...key, cell, cell, OUTSIDE),
      puppet.call("proxy_set_shared_data", ...key, OUTSIDE, 4, 0),
      puppet.call("proxy_set_shared_data", ...long, ...key, 0),
      puppet.call("proxy_get_shared_data", ...long, cell, cell, cell),
    ]);
    const bad = Status.INVALID_MEMORY_ACCESS;
    assert.deepEqual(statuses, [bad, bad, bad, Status.BAD_ARGUMENT, Status.NOT_FOUND]);
  });
});

describe("queues", () => {
  test("register, resolve, enqueue, dequeue; on_queue_ready comes later, to the root", async () => {
    const puppet = new Puppet();
    const name = puppet.text("jobs");
    const [token, again, resolved, pp, sp] = [
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
    ];
    const { stage, statuses } = run(
      puppet,
      [
        puppet.call("proxy_register_shared_queue", ...name, token),
        puppet.call("proxy_register_shared_queue", ...name, again),
        puppet.call("proxy_resolve_shared_queue", 0, 0, ...name, resolved),
        puppet.call("proxy_resolve_shared_queue", ...puppet.text("elsewhere"), ...name, resolved),
        puppet.call("proxy_dequeue_shared_queue", { load: token }, pp, sp),
        puppet.call("proxy_enqueue_shared_queue", { load: token }, ...puppet.text("work")),
        puppet.call("proxy_enqueue_shared_queue", 12_345, ...puppet.text("work")),
        puppet.call("proxy_enqueue_shared_queue", { load: token }, OUTSIDE, 4),
        puppet.call("proxy_dequeue_shared_queue", 12_345, pp, sp),
        puppet.call("proxy_dequeue_shared_queue", { load: token }, pp, sp),
      ],
      { vmId: "queue-vm" },
    );
    assert.deepEqual(statuses, [
      0,
      0,
      0,
      Status.NOT_FOUND,
      Status.EMPTY,
      0,
      Status.NOT_FOUND,
      Status.INVALID_MEMORY_ACCESS,
      Status.NOT_FOUND,
      0,
    ]);
    assert.equal(stage.u32(token), stage.u32(again));
    assert.equal(stage.u32(token), stage.u32(resolved));
    assert.equal(stage.given(pp, sp).toString(), "work");
    assert.equal(stage.names.includes("proxy_on_queue_ready"), false);
    while (!stage.names.includes("proxy_on_queue_ready")) await setTimeout(2);
    assert.deepEqual(stage.trace.at(-1)?.args, [1, stage.u32(token), 0]);
    shared.close();
  });
});

describe("metrics", () => {
  test("each kind does what Envoy's does", () => {
    const puppet = new Puppet();
    const [counter, gauge, histogram, value, gaugeValue] = [
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
      puppet.cell(),
    ];
    const big = 2n ** 53n + 1n;
    const { stage, statuses } = run(puppet, [
      puppet.call("proxy_define_metric", 0, ...puppet.text("c"), counter),
      puppet.call("proxy_define_metric", 1, ...puppet.text("g"), gauge),
      puppet.call("proxy_define_metric", 2, ...puppet.text("h"), histogram),
      puppet.call("proxy_increment_metric", { load: counter }, big),
      puppet.call("proxy_increment_metric", { load: counter }, 0),
      puppet.call("proxy_increment_metric", { load: counter }, -1),
      puppet.call("proxy_record_metric", { load: counter }, 2),
      puppet.call("proxy_get_metric", { load: counter }, value),
      puppet.call("proxy_increment_metric", { load: gauge }, -3),
      puppet.call("proxy_record_metric", { load: gauge }, 10),
      puppet.call("proxy_increment_metric", { load: gauge }, -4),
      puppet.call("proxy_get_metric", { load: gauge }, gaugeValue),
      puppet.call("proxy_record_metric", { load: histogram }, 12),
      puppet.call("proxy_increment_metric", { load: histogram }, 1),
      puppet.call("proxy_get_metric", { load: histogram }, value + 8),
    ]);
    const bad = Status.BAD_ARGUMENT;
    assert.deepEqual(statuses, [0, 0, 0, 0, bad, bad, 0, 0, 0, 0, 0, 0, 0, bad, bad]);
    assert.deepEqual([stage.u32(counter), stage.u32(gauge), stage.u32(histogram)], [4, 9, 14]);
    assert.equal(stage.u64(value), big + 2n);
    assert.equal(stage.u64(gaugeValue), 6n);
    const names = shared.readMetrics().map((one) => one.name);
    for (const name of ["wasmcustom.c", "wasmcustom.g", "wasmcustom.h"]) assert.ok(names.includes(name), name);
  });

  test("a bundled plugin's names stay as they are; the same name is the same metric", () => {
    const puppet = new Puppet();
    const name = puppet.text("http.main.fault.aborts_injected");
    const [one, two] = [puppet.cell(), puppet.cell()];
    const { stage } = run(
      puppet,
      [puppet.call("proxy_define_metric", 0, ...name, one), puppet.call("proxy_define_metric", 0, ...name, two)],
      { bundled: true },
    );
    assert.equal(stage.u32(one), stage.u32(two));
    assert.ok(shared.readMetrics().some((metric) => metric.name === "http.main.fault.aborts_injected"));
  });

  test("bad kinds, ids, pointers, names over the limit", () => {
    const puppet = new Puppet();
    const cell = puppet.cell();
    const { statuses } = run(puppet, [
      puppet.call("proxy_define_metric", 3, ...puppet.text("x"), cell),
      puppet.call("proxy_define_metric", 0, OUTSIDE, 3, cell),
      puppet.call("proxy_define_metric", 0, ...puppet.text("x"), OUTSIDE),
      puppet.call("proxy_define_metric", 0, ...puppet.text("x".repeat(MAX_METRIC_NAME_BYTES + 1)), cell),
      puppet.call("proxy_increment_metric", 400, 1),
      puppet.call("proxy_record_metric", 0, 1),
      puppet.call("proxy_get_metric", -1, cell),
      puppet.call("proxy_get_metric", 4, OUTSIDE),
    ]);
    const { BAD_ARGUMENT, INVALID_MEMORY_ACCESS, NOT_FOUND } = Status;
    assert.deepEqual(statuses, [
      BAD_ARGUMENT,
      INVALID_MEMORY_ACCESS,
      INVALID_MEMORY_ACCESS,
      BAD_ARGUMENT,
      NOT_FOUND,
      NOT_FOUND,
      NOT_FOUND,
      INVALID_MEMORY_ACCESS,
    ]);
  });
});
