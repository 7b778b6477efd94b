import assert from "node:assert/strict";
import { setImmediate, setTimeout } from "node:timers/promises";
import { describe, test } from "node:test";
import * as Status from "../../abi/status.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { HeadersStatus } from "../../runtime/http/filter.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { functionIndex, Puppet } from "./puppet.ts";
import { bodyOf, environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats, Stage } from "./stage.ts";

describe("the order of callbacks", () => {
  test("root: create, vm_start, configure; stream: create … log, done, delete", () => {
    const stage = Stage.started(new Puppet());
    const stream = stage.stream();
    stream.requestHead(false);
    stream.requestData(bodyOf("ab"), false);
    stream.filter.onRequestTrailers(new HeaderMap(["t", "1"]));
    stream.responseHead([":status", "200"], false);
    stream.filter.onResponseData(bodyOf("abc"), true);
    stream.filter.onResponseTrailers(new HeaderMap());
    stream.finish();
    assert.deepEqual(
      stage.trace.map(({ name, args }) => [name.slice("proxy_on_".length), ...args]),
      [
        ["context_create", 1, 0, 0],
        ["vm_start", 1, 16, 0],
        ["configure", 1, 20, 0],
        ["context_create", 2, 1, 0],
        ["request_headers", 2, 5, 0],
        ["request_body", 2, 2, 0],
        ["request_trailers", 2, 1, 0],
        ["response_headers", 2, 1, 0],
        ["response_body", 2, 3, 1],
        ["response_trailers", 2, 0, 0],
        ["log", 2, 0, 0],
        ["done", 2, 0, 0],
        ["delete", 2, 0, 0],
      ],
    );
  });

  test("a context is made at its first callback, for the log alone too", () => {
    const stage = Stage.started(new Puppet());
    const never = stage.stream();
    never.filter.onDestroy();
    assert.equal(stage.trace.length, 3);
    stage.stream().finish();
    assert.deepEqual(stage.names.slice(3), [
      "proxy_on_context_create",
      "proxy_on_log",
      "proxy_on_done",
      "proxy_on_delete",
    ]);
  });

  test("modules that lack callbacks are not called for them", () => {
    const stage = Stage.started(new Puppet({ callbacks: ["proxy_on_request_headers"] }));
    const stream = stage.stream();
    assert.equal(stream.requestHead(), HeadersStatus.CONTINUE);
    assert.equal(stream.responseHead(), HeadersStatus.CONTINUE);
    stream.finish();
    assert.deepEqual(stage.names, ["proxy_on_request_headers"]);
  });

  test("ids are never reused soon, and stay known until on_delete has run", () => {
    const puppet = new Puppet();
    const known = puppet.call("proxy_set_effective_context", 2);
    puppet.on("proxy_on_delete", 0, known);
    const stage = Stage.started(puppet);
    const long = stage.stream();
    long.requestHead();
    for (let n = 0; n < 500; n++) {
      const stream = stage.stream();
      stream.requestHead();
      stream.finish();
    }
    long.finish();
    assert.equal(stage.status(known), Status.OK);
    const ids = stage.trace.filter((one) => one.name === "proxy_on_context_create").map((one) => one.args[0]);
    assert.equal(new Set(ids).size, ids.length);
    assert.equal(stage.instance.contexts.count, 1);
    const unknown = puppet.call("proxy_set_effective_context", 2);
    puppet.on("proxy_on_request_headers", 0, unknown);
    stage.stream().requestHead();
    assert.equal(stage.status(unknown), Status.BAD_ARGUMENT);
  });

  test("many streams at once", () => {
    const stage = Stage.started(new Puppet({ callbacks: ["proxy_on_request_headers", "proxy_on_delete"] }));
    const streams = Array.from({ length: 1000 }, () => stage.stream());
    for (const stream of streams) stream.requestHead();
    assert.equal(stage.instance.contexts.count, 1001);
    for (const stream of streams) stream.finish();
    assert.equal(stage.instance.contexts.count, 1);
  });
});

describe("start", () => {
  function start(puppet: Puppet): void {
    new Stage(puppet, { config: { name: "my-plugin" } }).vm.start();
  }
  test("on_configure answering 0 refuses the plugin by name", () => {
    assert.throws(
      () => start(new Puppet().on("proxy_on_configure", 0)),
      /GUEST_CONFIGURE: plugin my-plugin: proxy_on_configure refused/,
    );
  });
  test("so does on_vm_start", () => {
    assert.throws(
      () => start(new Puppet().on("proxy_on_vm_start", 0)),
      /GUEST_START: plugin my-plugin: proxy_on_vm_start answered 0/,
    );
  });
  test("a trap in either is told", () => {
    const puppet = new Puppet();
    assert.throws(
      () => start(puppet.on("proxy_on_configure", 1, puppet.trap())),
      /GUEST_CONFIGURE: plugin my-plugin: proxy_on_configure: trap: unreachable/,
    );
  });
  test("a trap in the start function is told", () => {
    const extra = `(func (export "_initialize") (unreachable))`;
    assert.throws(() => start(new Puppet({ extra })), /GUEST_START: plugin my-plugin: start function: trap/);
  });
  test("_initialize, then main; a start section can log", () => {
    const extra = `
      (data (i32.const 60000) "started")
      (start $starting)
      (func $starting (drop (call $f0 (i32.const 2) (i32.const 60000) (i32.const 5))))
      (func (export "_initialize") (drop (call $f0 (i32.const 2) (i32.const 60000) (i32.const 6))))
      (func (export "main") (param i32 i32) (result i32) (drop (call $f0 (i32.const 2) (i32.const 60000) (i32.const 7))) (i32.const 0))
      (func (export "_start") (unreachable))`;
    const stage = Stage.started(new Puppet({ extra }));
    assert.deepEqual(
      stage.log.lines.map((line) => line.split(": ")[1]),
      ["start", "starte", "started"],
    );
  });
  test("proc_exit(0) in _start is a normal end", () => {
    const extra = `(func (export "_start") (call $f${functionIndex("proc_exit")} (i32.const 0)) (unreachable))`;
    assert.equal(Stage.started(new Puppet({ extra })).names.length, 3);
    const failing = `(func (export "_start") (call $f${functionIndex("proc_exit")} (i32.const 3)))`;
    assert.throws(() => start(new Puppet({ extra: failing })), /proc_exit\(3\)/);
  });
});

describe("the end of a plugin", () => {
  test("on_done, then on_delete", () => {
    const stage = Stage.started(new Puppet());
    const { instance } = stage;
    stage.vm.close();
    const bytes = Buffer.from(instance.memory.bytes);
    assert.equal(bytes.readUInt32LE(1024), 5);
    assert.equal(instance.contexts.count, 0);
  });

  test("on_done answering 0 waits for proxy_done, and on_delete comes after that callback", () => {
    const puppet = new Puppet();
    const early = puppet.call("proxy_done");
    const done = puppet.call("proxy_done");
    puppet.on("proxy_on_done", 0);
    puppet.on("proxy_on_request_headers", 0, early);
    puppet.on("proxy_on_queue_ready", 0, done);
    const stage = Stage.started(puppet);
    const root = stage.plugin.root!;
    const { instance } = stage;
    stage.stream().requestHead();
    assert.equal(stage.status(early), Status.NOT_FOUND);
    stage.vm.close();
    assert.equal(stage.names.at(-1), "proxy_on_done");
    root.onQueueReady(1);
    assert.equal(Buffer.from(instance.memory.bytes).readInt32LE(done.at + 4), Status.OK);
    assert.equal(instance.contexts.get(root.id), undefined);
  });
});

describe("ticks", () => {
  test("come until the period is 0, also when set inside on_tick", async () => {
    const puppet = new Puppet();
    puppet.on("proxy_on_configure", 1, puppet.call("proxy_set_tick_period_milliseconds", 5));
    const stage = Stage.started(puppet);
    const ticks = (): number => stage.names.filter((name) => name === "proxy_on_tick").length;
    while (ticks() < 3) await setTimeout(2);
    puppet.on("proxy_on_tick", 0, puppet.call("proxy_set_tick_period_milliseconds", 0));
    const before = ticks();
    while (ticks() === before) await setTimeout(2);
    const stopped = ticks();
    await setTimeout(30);
    assert.equal(ticks(), stopped);
  });
});

describe("PluginSet", () => {
  function make(configs: Parameters<typeof pluginConfig>[0][]): { set: PluginSet; log: RecordingLog } {
    const log = new RecordingLog();
    const stats = new RecordingStats();
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 0, puppet.call("proxy_log", 2, ...puppet.text("seen")));
    const module = loadModule(puppet.bytes(), "puppet");
    const plugins = configs.map((config) => pluginConfig(config));
    return {
      set: new PluginSet(
        plugins,
        plugins.map(() => module),
        environmentFor({}, log, stats),
      ),
      log,
    };
  }

  test("one factory per plugin, each with its own configuration", () => {
    const { set, log } = make([
      { name: "a", filterName: "fa" },
      { name: "b", filterName: "fb", vmId: "v" },
      { name: "c", filterName: "fc", vmId: "v" },
    ]);
    set.start();
    for (const index of [0, 1, 2]) {
      const factory = set.httpFilter(index);
      assert.equal(factory.name, ["fa", "fb", "fc"][index]);
      const stream = new FakeStream(factory, {});
      stream.requestHead();
      stream.finish();
    }
    assert.deepEqual(log.lines, ["2 wasm log a root : seen", "2 wasm log b root v: seen", "2 wasm log c root v: seen"]);
    assert.throws(() => set.httpFilter(3), /PLUGIN_INDEX/);
    set.close();
  });

  test("a refused plugin stops the others again", async () => {
    const stats = new RecordingStats();
    const refused = loadModule(new Puppet().on("proxy_on_configure", 0).bytes(), "no");
    const fine = new Puppet();
    fine.on("proxy_on_delete", 0, fine.call("proxy_log", 2, ...fine.text("deleted")));
    const log = new RecordingLog();
    const set = new PluginSet(
      [pluginConfig({ name: "good" }), pluginConfig({ name: "bad" })],
      [loadModule(fine.bytes(), "yes"), refused],
      environmentFor({}, log, stats),
    );
    assert.throws(() => set.start(), /plugin bad/);
    await setImmediate();
    assert.deepEqual(log.lines, ["2 wasm log good root : deleted"]);
  });
});
