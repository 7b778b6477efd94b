import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { describe, test } from "node:test";
import * as Status from "../../../abi/status.ts";
import { ResponseFlag } from "../../../runtime/errors.ts";
import { MAX_BUCKET_TOKENS } from "../../../runtime/limits.ts";
import { Puppet } from "../puppet.ts";
import type { Call } from "../puppet.ts";
import { bodyOf, Stage } from "../stage.ts";
import type { FakeStreamOptions, StageOptions } from "../stage.ts";

const OUTSIDE = 0x7fff_0000;
const { BAD_ARGUMENT, EMPTY, INVALID_MEMORY_ACCESS, NOT_FOUND } = Status;

function run(puppet: Puppet, calls: Call[], options: FakeStreamOptions = {}, stageOptions: StageOptions = {}) {
  puppet.on("proxy_on_request_headers", 0, ...calls);
  const stage = Stage.started(puppet, stageOptions);
  const stream = stage.stream(options);
  stream.requestHead();
  return { stage, stream, statuses: calls.map((call) => stage.status(call)) };
}

describe("route configuration", () => {
  test("id and bytes of the override", () => {
    const puppet = new Puppet();
    const [id, pp, sp] = [puppet.cell(), puppet.cell(), puppet.cell()];
    const calls = [
      puppet.call("get_route_configuration_id", id),
      puppet.call("get_route_configuration", { load: id }, pp, sp),
      puppet.call("get_route_configuration", 4, pp + 4, sp + 4),
      puppet.call("get_route_configuration_id", OUTSIDE),
    ];
    const { stage, statuses } = run(puppet, calls, { perRoute: { id: 3, bytes: Buffer.from("override") } });
    assert.deepEqual(statuses, [0, 0, NOT_FOUND, INVALID_MEMORY_ACCESS]);
    assert.equal(stage.u32(id), 3);
    assert.equal(stage.given(pp, sp).toString(), "override");
  });
  test("0 when there is none, and in the root", () => {
    const puppet = new Puppet();
    const id = puppet.cell();
    const root = puppet.call("get_route_configuration_id", id);
    puppet.on("proxy_on_configure", 1, root);
    const { stage } = run(puppet, []);
    assert.equal(stage.status(root), Status.OK);
    assert.equal(stage.u32(id), 0);
  });
});

describe("rate limit descriptors", () => {
  test("count, then length and bytes of each; a count of 0 when none applies", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const get = puppet.call("get_rate_limit_descriptors", 0, 0, pp, sp);
    const badMode = puppet.call("get_rate_limit_descriptors", 0, 4, pp, sp);
    const { stage, statuses } = run(puppet, [get, badMode], { descriptors: [Buffer.from("ab"), Buffer.from("c")] });
    assert.deepEqual(statuses, [0, BAD_ARGUMENT]);
    assert.equal(stage.given(pp, sp).toString("hex"), "020000000200000061620100000063");
    stage.stream().requestHead();
    assert.equal(stage.given(pp, sp).toString("hex"), "00000000");
  });
});

describe("flags and pace", () => {
  test("reach the stream; nonsense does not", () => {
    const puppet = new Puppet();
    const { stream, statuses } = run(puppet, [
      puppet.call("set_response_flag", ResponseFlag.FI),
      puppet.call("set_response_flag", 30),
      puppet.call("set_response_flag", -1),
      puppet.call("set_response_pace", 1024),
      puppet.call("set_response_pace", 0),
      puppet.call("skip_response"),
    ]);
    assert.deepEqual(statuses, [0, BAD_ARGUMENT, BAD_ARGUMENT, 0, BAD_ARGUMENT, 0]);
    assert.equal(stream.info.hasFlag(ResponseFlag.FI), true);
    assert.deepEqual(stream.events, ["pace 1024", "skip response"]);
  });
});

describe("stream timer", () => {
  test("fires once for its stream, which can go on from there", async () => {
    const puppet = new Puppet();
    const set = puppet.call("set_timer", 5);
    puppet.on("proxy_on_request_headers", 1, set);
    puppet.on("sluice_on_timer", 0, puppet.call("proxy_continue_stream", 0));
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    while (stream.events.length === 0) await setTimeout(2);
    assert.deepEqual(stream.events, ["continueRequest"]);
    assert.deepEqual(stage.trace.at(-1), { name: "sluice_on_timer", args: [2, 0, 0] });
  });

  test("is replaced, cancelled by 0, and gone with its stream; the root has none", async () => {
    const puppet = new Puppet();
    const root = puppet.call("set_timer", 5);
    puppet.on("proxy_on_configure", 1, root);
    puppet.on("proxy_on_request_headers", 0, puppet.call("set_timer", 5), puppet.call("set_timer", 0));
    puppet.on("proxy_on_request_body", 0, puppet.call("set_timer", 5), puppet.call("set_timer", 5));
    const stage = Stage.started(puppet);
    assert.equal(stage.status(root), BAD_ARGUMENT);
    stage.stream().requestHead();
    const gone = stage.stream();
    gone.requestData(bodyOf("x"), true);
    gone.finish();
    const once = stage.stream();
    once.requestData(bodyOf("x"), true);
    while (!stage.names.includes("sluice_on_timer")) await setTimeout(2);
    await setTimeout(20);
    assert.deepEqual(
      stage.trace.filter((one) => one.name === "sluice_on_timer").map((one) => one.args[0]),
      [4],
    );
  });
});

describe("token buckets", () => {
  test("take until empty; remaining and reset are written", () => {
    const puppet = new Puppet();
    const [id, left, reset] = [puppet.cell(), puppet.cell(), puppet.cell()];
    const take = (count: number): Call => puppet.call("take_tokens", { load: id }, count, left, reset);
    const { stage, statuses } = run(puppet, [
      puppet.call("define_token_bucket", ...puppet.text("guest-bucket"), 3, 1, 60_000, id),
      take(2),
      take(2),
      take(1),
      take(1),
    ]);
    assert.deepEqual(statuses, [0, 0, EMPTY, 0, EMPTY]);
    assert.equal(stage.u32(left), 0);
    assert.ok(stage.u32(reset) > 0 && stage.u32(reset) <= 60_000);
  });

  test("bad numbers, ids and pointers", () => {
    const puppet = new Puppet();
    const key = puppet.text("bad-bucket");
    const cell = puppet.cell();
    const { statuses } = run(puppet, [
      puppet.call("define_token_bucket", ...key, 3, 1, 0, cell),
      puppet.call("define_token_bucket", ...key, MAX_BUCKET_TOKENS + 1, 1, 1000, cell),
      puppet.call("define_token_bucket", OUTSIDE, 4, 3, 1, 1000, cell),
      puppet.call("take_tokens", 0, 1, cell, cell),
      puppet.call("take_tokens", 99, 1, cell, cell),
      puppet.call("define_token_bucket", ...key, 3, 1, 1000, cell),
      puppet.call("take_tokens", { load: cell }, 1, OUTSIDE, cell),
    ]);
    assert.deepEqual(statuses, [
      BAD_ARGUMENT,
      BAD_ARGUMENT,
      INVALID_MEMORY_ACCESS,
      NOT_FOUND,
      NOT_FOUND,
      0,
      INVALID_MEMORY_ACCESS,
    ]);
  });
});

describe("runtime", () => {
  test("fractions: the key's value if there is one, else the default; numbers", () => {
    const puppet = new Puppet();
    const value = puppet.cell();
    const fraction = (key: string, numerator: number, denominator: number): Call =>
      puppet.call("runtime_fraction", ...puppet.text(key), numerator, denominator);
    const { stage, statuses } = run(
      puppet,
      [
        fraction("none", 100, 100),
        fraction("none", 0, 100),
        fraction("off", 100, 100),
        fraction("on", 0, 10_000),
        fraction("all", 0, 100),
        fraction("constructor", 0, 100),
        fraction("none", 1, 0),
        puppet.call("runtime_number", ...puppet.text("number"), value),
        puppet.call("runtime_number", ...puppet.text("all"), value),
        puppet.call("runtime_number", ...puppet.text("toString"), value),
        puppet.call("runtime_number", OUTSIDE, 3, value),
      ],
      {},
      { runtime: { off: 0, on: 100, all: { numerator: 10_000, denominator: 10_000 }, number: -5 } },
    );
    assert.deepEqual(statuses, [
      0,
      EMPTY,
      EMPTY,
      0,
      0,
      EMPTY,
      BAD_ARGUMENT,
      0,
      NOT_FOUND,
      NOT_FOUND,
      INVALID_MEMORY_ACCESS,
    ]);
    assert.equal(stage.u32(value) | 0, -5);
  });

  test("a half is about a half", () => {
    const puppet = new Puppet();
    const half = puppet.call("runtime_fraction", ...puppet.text("none"), 50, 100);
    puppet.on("proxy_on_request_headers", 0, half);
    const stage = Stage.started(puppet);
    let sampled = 0;
    for (let n = 0; n < 1000; n++) {
      stage.stream().requestHead();
      if (stage.status(half) === Status.OK) sampled++;
    }
    assert.ok(sampled > 350 && sampled < 650, String(sampled));
  });
});
