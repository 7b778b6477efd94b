/** Behaviours of modules, root contexts and ticks that no other test shows. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import * as MapType from "../../../abi/map.ts";
import { HeaderMap } from "../../../runtime/codec/headers.ts";
import { loadModule } from "../../../runtime/wasm/module/module.ts";
import { PluginSet } from "../../../runtime/wasm/plugin-set.ts";
import type { PluginConfig } from "../../../runtime/config/snapshot.ts";
import { BytesStage } from "../bytes-stage.ts";
import { assemble, CALLBACKS, Puppet } from "../puppet.ts";
import type { Call } from "../puppet.ts";
import { bodyOf, environmentFor, pluginConfig, RecordingLog, RecordingStats, Stage } from "../stage.ts";

function ticks(stage: Stage): number {
  return stage.names.filter((name) => name === "proxy_on_tick").length;
}
function period(puppet: Puppet, milliseconds: number): Call {
  return puppet.call("proxy_set_tick_period_milliseconds", milliseconds);
}

describe("modules", () => {
  test("custom sections of any name and content are nobody's business", () => {
    const section = (name: string, content: Buffer): Buffer => {
      const body = Buffer.concat([Buffer.of(name.length), Buffer.from(name), content]);
      return Buffer.concat([Buffer.of(0, body.length), body]);
    };
    const bytes = Buffer.concat([
      new Puppet({ callbacks: ["proxy_on_request_headers"] }).bytes(),
      section("precompiled_v8_v12", Buffer.from("machine code")),
      section("signature_wasmsign", Buffer.alloc(64)),
      section("name", Buffer.from("ff03", "hex")),
      section("", Buffer.alloc(0)),
    ]);
    assert.equal(BytesStage.started(bytes).stream().requestHead(), 0);
  });

  test("plugins of one vm_id, VM configuration and code share a VM, each with a root context; another of the three is another VM", () => {
    const plain = loadModule(new Puppet().bytes(), "plain");
    const other = loadModule(new Puppet({ callbacks: ["proxy_on_tick"] }).bytes(), "other");
    const vms = (...configs: readonly (readonly [Partial<PluginConfig>, typeof plain])[]): number => {
      const stats = new RecordingStats();
      const plugins = configs.map(([config], n) => pluginConfig({ name: `p${n}`, vmId: "v", ...config }));
      const modules = configs.map(([, module]) => module);
      const set = new PluginSet(plugins, modules, environmentFor({}, new RecordingLog(), stats));
      set.start();
      const created = stats.values.get("wasm.envoy.wasm.runtime.v8.created");
      set.close();
      return created ?? 0;
    };
    assert.equal(vms([{}, plain], [{ rootId: "other" }, plain], [{ configuration: Buffer.from("c") }, plain]), 1);
    assert.equal(vms([{}, plain], [{ vmId: "w" }, plain]), 2);
    assert.equal(vms([{}, plain], [{ vmConfiguration: Buffer.from("c") }, plain]), 2);
    assert.equal(vms([{}, plain], [{}, other]), 2);
  });
});

describe("memory", () => {
  const pages = 64;
  const greedy = assemble(`(module
    (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (block $full (loop $more (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br $more)))
      (i32.store (i32.const 0) (memory.size))
      (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
      (i32.load (i32.mul (memory.size) (i32.const 65536)))))`);

  for (const isolation of ["worker", "stream"] as const) {
    test(`up to its bound is the guest's, isolation ${isolation}; what lies behind ends the instance`, () => {
      const stage = BytesStage.started(greedy, { memoryBytes: pages * 65_536, isolation });
      const stream = stage.stream();
      stream.requestHead();
      const { instance } = stream.filter as unknown as { readonly instance: Stage["instance"] };
      assert.ok(instance.memory.has(0, 4));
      assert.equal(instance.memory.view.getUint32(0, true), pages);
      stream.responseHead();
      assert.match(stage.plugin.lastFailure, /bad pointer/);
    });
  }
});

describe("root contexts", () => {
  test("sizes of configurations are told, and 0 when there is none", () => {
    const config = { configuration: new Uint8Array(), vmConfiguration: new Uint8Array() };
    const stage = Stage.started(new Puppet(), { config });
    const sizes = ["proxy_on_vm_start", "proxy_on_configure"].map(
      (name) => stage.trace.find((one) => one.name === name)!.args[1],
    );
    assert.deepEqual(sizes, [0, 0]);
  });

  test("plugin_name, plugin_root_id and plugin_vm_id are there when the context is created", () => {
    const puppet = new Puppet();
    const cells = [0, 1, 2].map(() => [puppet.cell(), puppet.cell()] as const);
    const calls = ["plugin_name", "plugin_root_id", "plugin_vm_id"].map((name, n) =>
      puppet.call("proxy_get_property", ...puppet.text(name), ...cells[n]!),
    );
    puppet.on("proxy_on_context_create", 0, ...calls);
    const stage = Stage.started(puppet, { config: { name: "n", rootId: "r", vmId: "v" } });
    assert.deepEqual(
      cells.map(([pp, sp]) => stage.given(pp, sp).toString()),
      ["n", "r", "v"],
    );
  });
});

describe("ticks", () => {
  test("period 0 starts none, and a long period none early", async () => {
    for (const milliseconds of [0, 60_000]) {
      const puppet = new Puppet();
      puppet.on("proxy_on_configure", 1, period(puppet, milliseconds));
      const stage = Stage.started(puppet);
      await setTimeout(20);
      assert.equal(ticks(stage), 0);
      stage.vm.close();
    }
  });

  test("a new period replaces the old one", async () => {
    const puppet = new Puppet();
    puppet.on("proxy_on_configure", 1, period(puppet, 60_000), period(puppet, 1));
    const stage = Stage.started(puppet);
    while (ticks(stage) < 2) await setTimeout(1);
    stage.vm.close();
  });

  test("of one plugin are none of another's business", async () => {
    const [quick, done] = [1, 1].map((milliseconds) => {
      const puppet = new Puppet();
      puppet.on("proxy_on_configure", 1, period(puppet, milliseconds));
      return { puppet, stage: Stage.started(puppet) };
    });
    done!.puppet.on("proxy_on_tick", 0, period(done!.puppet, 0));
    while (ticks(done!.stage) === 0) await setTimeout(1);
    const before = ticks(quick!.stage);
    while (ticks(quick!.stage) < before + 3) await setTimeout(1);
    assert.equal(ticks(done!.stage), 1);
    quick!.stage.vm.close();
    done!.stage.vm.close();
  });

  test("a trap in on_tick is told, and the plugin goes on in a fresh instance", async () => {
    const puppet = new Puppet();
    puppet.on("proxy_on_configure", 1, period(puppet, 1)).on("proxy_on_tick", 0, puppet.trap());
    const stage = Stage.started(puppet);
    const first = stage.instance;
    while (stage.plugin.root === null || stage.instance === first) await setTimeout(1);
    assert.match(stage.plugin.lastFailure, /^trap: unreachable/);
    assert.equal(stage.stream().requestHead(), 0);
    stage.vm.close();
  });

  test("the period can be set in every callback", () => {
    const puppet = new Puppet();
    const streams = CALLBACKS.filter((name) => /^proxy_on_(request|response)_(headers|body|trailers)$/.test(name));
    const roots = ["vm_start", "configure", "tick", "queue_ready", "context_create", "log", "done", "delete"];
    const names = [...streams, ...roots.map((name) => `proxy_on_${name}`)];
    const calls = names.map((name) => {
      const call = period(puppet, 0);
      puppet.on(name, /vm_start|configure/.test(name) ? 1 : 0, call);
      return call;
    });
    const stage = Stage.started(puppet);
    const root = stage.plugin.root!;
    stage.instance.callWith(root, stage.instance.export("proxy_on_tick")!, "proxy_on_tick", []);
    root.onQueueReady(1);
    const stream = stage.stream();
    stream.requestHead(false);
    stream.requestData(bodyOf("x"), false);
    stream.filter.onRequestTrailers(new HeaderMap(["t", "1"]));
    stream.responseHead([":status", "200"], false);
    stream.filter.onResponseData(bodyOf("x"), false);
    stream.filter.onResponseTrailers(new HeaderMap(["t", "1"]));
    stream.finish();
    names.forEach((name, n) => assert.equal(stage.status(calls[n]!), 0, name));
  });
});

describe("the log phase", () => {
  test("shows headers of both directions and response trailers, and bodies no more", () => {
    const puppet = new Puppet();
    const maps = [MapType.HTTP_REQUEST_HEADERS, MapType.HTTP_RESPONSE_HEADERS, MapType.HTTP_RESPONSE_TRAILERS].map(
      (map) => puppet.call("proxy_get_header_map_value", map, ...puppet.text("x-a"), puppet.cell(), puppet.cell()),
    );
    const bodies = [0, 1].map((buffer) =>
      puppet.call("proxy_get_buffer_bytes", buffer, 0, 9, puppet.cell(), puppet.cell()),
    );
    puppet.on("proxy_on_log", 0, ...maps, ...bodies);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    stream.responseHead([":status", "200", "x-a", "2"], false);
    stream.responseTrailers = new HeaderMap(["x-a", "3"]);
    stream.finish();
    assert.deepEqual(
      [...maps, ...bodies].map((call) => stage.status(call)),
      [0, 0, 0, 1, 1],
    );
  });
});
