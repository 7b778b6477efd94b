/** A plugin as a network filter: callbacks and their order, buffers, pauses, closing, properties, failures, isolation. */
import assert from "node:assert/strict";
import { setImmediate, setTimeout } from "node:timers/promises";
import { describe, test } from "node:test";
import * as Status from "../../abi/status.ts";
import { CLUSTER_STATE, stateText } from "../../runtime/network/filter-state.ts";
import { compileFormat } from "../../runtime/observe/format.ts";
import { Puppet } from "./puppet.ts";
import type { Call } from "./puppet.ts";
import { Stage } from "./stage.ts";

const NEW = "proxy_on_new_connection";
const DATA = "proxy_on_downstream_data";
const ANSWER = "proxy_on_upstream_data";
const CLOSED = "proxy_on_downstream_connection_close";
const UPSTREAM_CLOSED = "proxy_on_upstream_connection_close";
const DOWNSTREAM_DATA = 2;
const UPSTREAM_DATA = 3;
const DOWNSTREAM = 2;
const UPSTREAM = 3;
const ALL = 0xffff_ffff;

/** Callbacks of connections with their arguments, those of the root left out. */
function calls(stage: Stage): string[] {
  return stage.trace.filter(({ args }) => args[0] > 1).map(({ name, args }) => `${name} ${args.slice(1).join(" ")}`);
}

describe("callbacks", () => {
  test("in order, with sizes and the end of stream; closed by the peer", () => {
    const stage = Stage.started(new Puppet());
    const connection = stage.connection().data("hello").answer("hi there").answer("", true).data("bye", true);
    connection.finish();
    assert.deepEqual(calls(stage), [
      "proxy_on_context_create 1 0",
      `${NEW} 0 0`,
      `${DATA} 5 0`,
      `${ANSWER} 8 0`,
      `${ANSWER} 0 1`,
      `${UPSTREAM_CLOSED} 0 0`,
      `${DATA} 3 1`,
      `${CLOSED} 2 0`,
      "proxy_on_done 0 0",
      "proxy_on_log 0 0",
      "proxy_on_delete 0 0",
    ]);
    assert.equal(connection.upstream, "hellobye");
    assert.equal(connection.downstream, "hi there");
    assert.deepEqual(connection.events, ["end downstream", "end upstream"]);
    assert.equal(stage.instance.contexts.count, 1);
  });

  test("closed here: peer type LOCAL", () => {
    const stage = Stage.started(new Puppet());
    stage.connection().finish(true);
    assert.deepEqual(calls(stage).slice(2), [
      `${CLOSED} 1 0`,
      "proxy_on_done 0 0",
      "proxy_on_log 0 0",
      "proxy_on_delete 0 0",
    ]);
  });

  test("a module without data callbacks is not in the way of data", () => {
    const stage = Stage.started(new Puppet({ callbacks: [NEW, CLOSED, "proxy_on_context_create"] }));
    assert.deepEqual([stage.networkFactory.reads, stage.networkFactory.writes], [false, false]);
    const connection = stage.connection().data("a").answer("b", true);
    connection.finish();
    assert.deepEqual([connection.upstream, connection.downstream], ["a", "b"]);
    assert.deepEqual(calls(stage), ["proxy_on_context_create 1 0", `${NEW} 0 0`, `${CLOSED} 2 0`]);
  });

  test("a module that only wants to know of the end upstream hears of it", () => {
    const stage = Stage.started(new Puppet({ callbacks: [UPSTREAM_CLOSED] }));
    stage.connection().answer("b").answer("c", true);
    assert.deepEqual(calls(stage), [`${UPSTREAM_CLOSED} 0 0`]);
  });

  test("capabilities take callbacks away", () => {
    const stage = Stage.started(new Puppet(), { config: { allowedCapabilities: [NEW] } });
    const connection = stage.connection().data("a");
    assert.equal(connection.upstream, "a");
    assert.deepEqual(calls(stage), [`${NEW} 0 0`]);
  });

  test("the oldest ABI has them too, and its continue_request means nothing here", () => {
    const puppet = new Puppet({ marker: "proxy_abi_version_0_1_0" });
    const go = puppet.call("proxy_continue_request");
    puppet.on(DATA, 1, go);
    const stage = Stage.started(puppet);
    const connection = stage.connection().data("a");
    assert.equal(stage.status(go), Status.OK);
    assert.equal(connection.upstream, "");
  });
});

describe("buffers", () => {
  test("are read in their callback, whole and in part", () => {
    const puppet = new Puppet();
    const [pp, sp, length] = [puppet.cell(), puppet.cell(), puppet.cell()];
    puppet.on(DATA, 0, puppet.call("proxy_get_buffer_bytes", DOWNSTREAM_DATA, 1, 3, pp, sp));
    puppet.on(ANSWER, 0, puppet.call("proxy_get_buffer_status", UPSTREAM_DATA, length, length + 4));
    const stage = Stage.started(puppet);
    stage.connection().data("abcdef").answer("four");
    assert.equal(stage.given(pp, sp).toString(), "bcd");
    assert.equal(stage.u32(length), 4);
  });

  const edits: [string, start: number, length: number, data: string, expected: string][] = [
    ["prepend", 0, 0, ">>", ">>abcdef"],
    ["append", ALL, 0, "<<", "abcdef<<"],
    ["replace all", 0, ALL, "new", "new"],
    ["empty", 0, ALL, "", ""],
    ["replace in the middle", 2, 2, "-x-", "ab-x-ef"],
  ];
  for (const [name, start, length, data, expected] of edits) {
    test(`${name}: what goes on is what the guest made of it, both ways`, () => {
      const puppet = new Puppet();
      const text = puppet.text(data);
      puppet.on(DATA, 0, puppet.call("proxy_set_buffer_bytes", DOWNSTREAM_DATA, start, length, ...text));
      puppet.on(ANSWER, 0, puppet.call("proxy_set_buffer_bytes", UPSTREAM_DATA, start, length, ...text));
      const connection = Stage.started(puppet).connection().data("abcdef").answer("abcdef");
      assert.deepEqual([connection.upstream, connection.downstream], [expected, expected]);
    });
  }

  test("are not there in other phases, and bodies of HTTP never", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const read = (type: number): Call => puppet.call("proxy_get_buffer_bytes", type, 0, 9, pp, sp);
    const write = (type: number): Call => puppet.call("proxy_set_buffer_bytes", type, 0, 0, ...puppet.text("x"));
    const early = [read(2), write(3)];
    const inData = [read(3), write(3), read(0), write(1)];
    const late = [read(2), write(3)];
    puppet
      .on(NEW, 0, ...early)
      .on(DATA, 0, ...inData)
      .on(CLOSED, 0, ...late);
    const stage = Stage.started(puppet);
    const connection = stage.connection().data("a");
    connection.finish();
    for (const call of [...early, ...inData, ...late]) assert.equal(stage.status(call), Status.NOT_FOUND);
    assert.equal(connection.upstream, "a");
  });

  test("bad pointers are told as such", () => {
    const puppet = new Puppet();
    const read = puppet.call("proxy_get_buffer_bytes", DOWNSTREAM_DATA, 0, 9, 0xffff_fffc, 0xffff_fffc);
    const write = puppet.call("proxy_set_buffer_bytes", DOWNSTREAM_DATA, 0, 0, 0xffff_0000, 0xffff);
    puppet.on(DATA, 0, read, write);
    const stage = Stage.started(puppet);
    assert.equal(stage.connection().data("a").upstream, "a");
    for (const call of [read, write]) assert.equal(stage.status(call), Status.INVALID_MEMORY_ACCESS);
  });
});

describe("pauses", () => {
  test("held bytes are seen again with what follows; any action but 0 holds", () => {
    const puppet = new Puppet().on(DATA, 1).on(ANSWER, 7);
    const stage = Stage.started(puppet);
    const connection = stage.connection().data("ab").data("cd").answer("x").answer("yz", true);
    puppet.on(DATA, 0).on(ANSWER, 0);
    connection.data("e", true).answer("!");
    assert.deepEqual(calls(stage).slice(2), [
      `${DATA} 2 0`,
      `${DATA} 4 0`,
      `${ANSWER} 1 0`,
      `${ANSWER} 3 1`,
      `${UPSTREAM_CLOSED} 0 0`,
      `${DATA} 5 1`,
      `${ANSWER} 4 1`,
    ]);
    assert.deepEqual([connection.upstream, connection.downstream], ["abcde", "xyz!"]);
  });

  test("a new connection waits: the terminal filter hears of it when the guest lets go on, from a tick", () => {
    const puppet = new Puppet().on(NEW, 1).on(DATA, 1);
    puppet.on(
      "proxy_on_queue_ready",
      0,
      puppet.call("proxy_set_effective_context", 2),
      puppet.call("proxy_continue_stream", DOWNSTREAM),
    );
    const stage = Stage.started(puppet);
    const connection = stage.connection();
    assert.equal(connection.known, false);
    stage.plugin.root!.onQueueReady(1);
    assert.equal(connection.known, true);
    connection.data("held");
    assert.equal(connection.upstream, "");
    stage.plugin.root!.onQueueReady(1);
    assert.equal(connection.upstream, "held");
  });

  test("a continue in the paused callback itself goes on, upstream as well", () => {
    const puppet = new Puppet();
    const up = puppet.call("proxy_continue_stream", UPSTREAM);
    puppet.on(NEW, 1, puppet.call("proxy_continue_stream", DOWNSTREAM));
    puppet.on(DATA, 1, puppet.call("proxy_continue_stream", DOWNSTREAM));
    puppet.on(ANSWER, 1, up);
    const stage = Stage.started(puppet);
    const connection = stage.connection().data("a").answer("b");
    assert.deepEqual([connection.known, connection.upstream, connection.downstream], [true, "a", "b"]);
    assert.equal(stage.status(up), Status.OK);
  });

  test("one direction lets the other go on", () => {
    const puppet = new Puppet().on(DATA, 1);
    puppet.on(ANSWER, 1, puppet.call("proxy_continue_stream", DOWNSTREAM));
    const connection = Stage.started(puppet).connection().data("a").answer("b");
    assert.deepEqual([connection.upstream, connection.downstream], ["a", ""]);
  });

  test("held bytes can be read and changed from outside; once they are gone they cannot", () => {
    const puppet = new Puppet().on(DATA, 1);
    const edit = puppet.call("proxy_set_buffer_bytes", DOWNSTREAM_DATA, 0, 1, ...puppet.text("A"));
    puppet.on(
      "proxy_on_queue_ready",
      0,
      puppet.call("proxy_set_effective_context", 2),
      edit,
      puppet.call("proxy_continue_stream", DOWNSTREAM),
    );
    const stage = Stage.started(puppet);
    const connection = stage.connection().data("abc");
    stage.plugin.root!.onQueueReady(1);
    assert.equal(stage.status(edit), Status.OK);
    assert.equal(connection.upstream, "Abc");
    stage.plugin.root!.onQueueReady(1);
    assert.equal(stage.status(edit), Status.NOT_FOUND);
    assert.equal(connection.upstream, "Abc");
  });

  test("a timer of the connection lets it go on, and is gone with it", async () => {
    const puppet = new Puppet();
    puppet.on(NEW, 1, puppet.call("set_timer", 5));
    puppet.on("sluice_on_timer", 0, puppet.call("proxy_continue_stream", DOWNSTREAM));
    const stage = Stage.started(puppet);
    const [gone, connection] = [stage.connection(), stage.connection()];
    gone.finish();
    while (!connection.known) await setTimeout(2);
    assert.deepEqual(
      stage.trace.filter(({ name }) => name === "sluice_on_timer").map(({ args }) => args[0]),
      [3],
    );
  });

  test("streams that a connection does not have are no error", () => {
    const puppet = new Puppet();
    const made = [puppet.call("proxy_continue_stream", 0), puppet.call("proxy_close_stream", 1)];
    const bad = [puppet.call("proxy_continue_stream", 4), puppet.call("proxy_close_stream", 99)];
    puppet.on(DATA, 1, ...made, ...bad);
    const stage = Stage.started(puppet);
    const connection = stage.connection().data("a");
    for (const call of made) assert.equal(stage.status(call), Status.OK);
    for (const call of bad) assert.equal(stage.status(call), Status.BAD_ARGUMENT);
    assert.equal(connection.upstream, "");
    assert.deepEqual(connection.events, []);
  });
});

describe("close_stream", () => {
  for (const type of [DOWNSTREAM, UPSTREAM]) {
    test(`${type} closes the connection, once the guest has returned`, () => {
      const puppet = new Puppet();
      puppet.on(DATA, 0, puppet.call("proxy_close_stream", type));
      const stage = Stage.started(puppet);
      const connection = stage.connection().data("a").data("b");
      assert.deepEqual(connection.events, ["close 0 wasm_close_stream"]);
      assert.equal(connection.upstream, "");
      connection.finish();
      assert.equal(calls(stage).filter((one) => one.startsWith(DATA)).length, 1);
      assert.ok(calls(stage).includes(`${CLOSED} 1 0`));
    });
  }

  test("what the guest makes of an answer is written before", () => {
    const puppet = new Puppet();
    const edit = puppet.call("proxy_set_buffer_bytes", UPSTREAM_DATA, 0, ALL, ...puppet.text("sorry"));
    puppet.on(ANSWER, 0, edit, puppet.call("proxy_close_stream", DOWNSTREAM));
    const connection = Stage.started(puppet).connection().answer("secret");
    assert.equal(connection.downstream, "sorry");
    assert.deepEqual(connection.events, ["close 0 wasm_close_stream"]);
  });

  test("on a new connection: nobody behind hears of it", () => {
    const puppet = new Puppet();
    puppet.on(NEW, 1, puppet.call("proxy_close_stream", DOWNSTREAM));
    const connection = Stage.started(puppet).connection();
    assert.deepEqual([connection.known, connection.closed], [false, true]);
  });

  test("a local response is no way to answer a connection", () => {
    const puppet = new Puppet();
    const reply = puppet.call("proxy_send_local_response", 403, 0, 0, 0, 0, 0, 0, -1);
    puppet.on(DATA, 0, reply);
    const stage = Stage.started(puppet);
    assert.equal(stage.connection().data("a").upstream, "a");
    assert.equal(stage.status(reply), Status.OK);
    assert.ok(stage.log.lines.some((line) => line.includes("no stream to answer")));
  });
});

describe("properties", () => {
  function read(paths: readonly string[], prepare: (connection: ReturnType<Stage["connection"]>) => void = () => {}) {
    const puppet = new Puppet();
    const places = paths.map((path) => {
      const [pp, sp] = [puppet.cell(), puppet.cell()];
      const call = puppet.call("proxy_get_property", ...puppet.text(path.replaceAll(".", "\0")), pp, sp);
      return { call, pp, sp };
    });
    puppet.on(DATA, 0, ...places.map(({ call }) => call));
    const stage = Stage.started(puppet);
    const connection = stage.connection();
    prepare(connection);
    connection.data("a");
    return places.map(({ call, pp, sp }) =>
      stage.status(call) === Status.OK ? stage.given(pp, sp) : stage.status(call),
    );
  }

  test("of the connection", () => {
    const values = read(
      [
        "source.address",
        "destination.address",
        "xds.filter_chain_name",
        "upstream.address",
        "plugin_name",
        "metadata.filter_metadata.ns.key",
      ],
      ({ stream }) => {
        stream.upstreamHost = "10.9.8.7:3306";
        stream.dynamicMetadata = new Map([["ns", { key: "value" }]]);
      },
    );
    const expected = ["127.0.0.1:5555", "127.0.0.1:10000", "chain", "10.9.8.7:3306", "puppet", "value"];
    assert.deepEqual(values.map(String), expected);
    const ports = read(["source.port", "destination.port", "upstream.port"], ({ stream }) => {
      stream.upstreamHost = "10.9.8.7:3306";
    });
    assert.deepEqual(
      ports.map((one) => (one as Buffer).readBigInt64LE(0)),
      [5555n, 10_000n, 3306n],
    );
  });

  test("of HTTP there are none", () => {
    const paths = [
      "request.path",
      "request.headers.host",
      "request.protocol",
      "response.code",
      "xds.route_name",
      "upstream.address",
    ];
    assert.deepEqual(
      read(paths),
      paths.map(() => Status.NOT_FOUND),
    );
  });

  test("of its own, metadata and flags stay with the connection", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    puppet.on(NEW, 0, puppet.call("proxy_set_property", ...puppet.text("mark"), ...puppet.text("blue")));
    const struct = Buffer.from("0a0a0a016b12051a03616c6c", "hex");
    const other = Buffer.from("0a0a0a017a12051a03616c6c", "hex");
    puppet.on(
      DATA,
      0,
      puppet.call("proxy_get_property", ...puppet.text("mark"), pp, sp),
      puppet.call("set_dynamic_metadata", ...puppet.text("ns"), ...puppet.text(struct)),
      puppet.call("set_dynamic_metadata", ...puppet.text("ns"), ...puppet.text(other)),
      puppet.call("set_response_flag", 3),
    );
    puppet.on(ANSWER, 0, puppet.call("replace_dynamic_metadata", ...puppet.text("ns"), ...puppet.text(other)));
    const stage = Stage.started(puppet);
    const connection = stage.connection().data("a");
    assert.equal(stage.given(pp, sp).toString(), "blue");
    assert.deepEqual(connection.stream.dynamicMetadata?.get("ns"), { k: "all", z: "all" });
    assert.equal(connection.stream.hasFlag(3), true);
    connection.answer("b");
    assert.deepEqual(connection.stream.dynamicMetadata?.get("ns"), { z: "all" });
  });
});

describe("filter state", () => {
  test("of a connection is there for the streams on it, for logs, and for the terminal filter", () => {
    const puppet = new Puppet();
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const [resultP, resultSizeP] = [puppet.cell(), puppet.cell()];
    const cluster = Buffer.from(
      "0a17656e766f792e7463705f70726f78792e636c7573746572120362696718 00".replace(" ", ""),
      "hex",
    );
    const call = puppet.call(
      "proxy_call_foreign_function",
      ...puppet.text("set_envoy_filter_state"),
      ...puppet.text(cluster),
      resultP,
      resultSizeP,
    );
    puppet.on(NEW, 0, puppet.call("proxy_set_property", ...puppet.text("peer"), ...puppet.text("blue")), call);
    puppet.on("proxy_on_request_headers", 0, puppet.call("proxy_get_property", ...puppet.text("peer"), pp, sp));
    const stage = Stage.started(puppet);
    const connection = stage.connection();
    assert.equal(stage.status(call), Status.OK);
    assert.equal(stateText(connection.stream, CLUSTER_STATE), "big");
    const stream = stage.stream({ connection: connection.info });
    stream.requestHead();
    assert.equal(stage.given(pp, sp).toString(), "blue");
    const log = compileFormat("%FILTER_STATE(wasm.peer:PLAIN)%", { omitEmptyValues: false });
    assert.equal(log(stream.info), "blue");
    assert.equal(stage.stream().info.stateOf("wasm.peer"), undefined);
  });

  test("that a stream declares for its connection outlives it; all else does not", () => {
    const puppet = new Puppet();
    const declare = (name: string, span: number): Call =>
      puppet.call(
        "proxy_call_foreign_function",
        ...puppet.text("declare_property"),
        ...puppet.text(Buffer.concat([Buffer.of(0x0a, name.length), Buffer.from(name), Buffer.of(0x28, span)])),
        0,
        0,
      );
    puppet.on("proxy_on_configure", 1, declare("long", 2), declare("short", 1));
    puppet.on(
      "proxy_on_request_headers",
      0,
      puppet.call("proxy_set_property", ...puppet.text("long"), ...puppet.text("a")),
      puppet.call("proxy_set_property", ...puppet.text("short"), ...puppet.text("b")),
    );
    const stage = Stage.started(puppet);
    const { info } = stage.connection();
    const first = stage.stream({ connection: info });
    first.requestHead();
    const names = [...first.info.allState().keys()].sort();
    first.finish();
    assert.deepEqual(names, ["wasm.long", "wasm.short"]);
    assert.deepEqual([...stage.stream({ connection: info }).info.allState().keys()], ["wasm.long"]);
  });
});

describe("failures", () => {
  for (const callback of [NEW, DATA, ANSWER]) {
    test(`a trap in ${callback} closes the connection`, () => {
      const puppet = new Puppet();
      puppet.on(callback, 0, puppet.trap());
      const stage = Stage.started(puppet);
      const connection = stage.connection().data("a").answer("b");
      assert.deepEqual(connection.events, ["close 0 wasm_fail_stream{trap}"]);
      assert.equal(stage.stats.values.get("wasm.puppet.failed_streams"), 1);
      connection.finish();
    });

    test(`FAIL_OPEN: after a trap in ${callback} the connection goes on without the filter`, async () => {
      const puppet = new Puppet();
      puppet.on(callback, 0, puppet.trap());
      const stage = Stage.started(puppet, { config: { failurePolicy: "FAIL_OPEN" } });
      const connection = stage.connection().data("a").answer("b").data("c").answer("d", true);
      assert.deepEqual([connection.upstream, connection.downstream], ["ac", "bd"]);
      assert.equal(stage.stats.values.get("wasm.puppet.skipped_streams"), 1);
      await setImmediate();
      connection.finish();
      assert.equal(stage.stats.values.get("wasm.puppet.traps"), 1);
    });
  }

  test("a trap at the end is logged, and a fresh instance serves the next connection", async () => {
    const puppet = new Puppet();
    puppet.on(CLOSED, 0, puppet.trap());
    const stage = Stage.started(puppet);
    const connection = stage.connection().data("a");
    connection.finish();
    assert.equal(stage.stats.values.get("wasm.puppet.traps"), 1);
    assert.match(
      stage.log.lines.find((line) => line.startsWith("error"))!,
      /proxy_on_downstream_connection_close, context 2/,
    );
    await setImmediate();
    assert.equal(stage.connection().data("b").upstream, "b");
  });

  for (const open of [false, true]) {
    test(`connections that wait get the policy at once, others at their next event (${open ? "open" : "closed"})`, async () => {
      const puppet = new Puppet().on(DATA, 1).on(ANSWER, 1);
      puppet.on("proxy_on_queue_ready", 0, puppet.trap());
      const stage = Stage.started(puppet, { config: { failurePolicy: open ? "FAIL_OPEN" : "FAIL_CLOSED" } });
      const [waiting, writing, idle] = [stage.connection(), stage.connection(), stage.connection()];
      waiting.data("a");
      writing.answer("b");
      stage.plugin.root!.onQueueReady(1);
      await setImmediate();
      assert.deepEqual([waiting.upstream, writing.downstream], open ? ["a", "b"] : ["", ""]);
      assert.deepEqual([waiting.closed, writing.closed, idle.closed], [!open, !open, false]);
      idle.data("c");
      assert.deepEqual([idle.upstream, idle.closed], open ? ["c", false] : ["", true]);
      for (const one of [waiting, writing, idle]) one.finish();
    });
  }

  test("without an instance: closed, or open without the filter", () => {
    for (const open of [false, true]) {
      const failurePolicy = open ? "FAIL_OPEN" : "FAIL_CLOSED";
      const stage = new Stage(new Puppet(), { config: { failurePolicy, isolation: "stream", maxInstances: 0 } });
      const connection = stage.connection().data("a");
      assert.deepEqual([connection.upstream, connection.closed], open ? ["a", false] : ["", true]);
      if (!open) assert.deepEqual(connection.events, ["close 0 wasm_fail_stream{no_instance}"]);
      connection.finish();
    }
  });
});

describe("isolation", () => {
  for (const isolation of ["stream", "connection"] as const) {
    test(`${isolation}: each connection has its own instance, which comes back with its end`, async () => {
      const puppet = new Puppet();
      const mark = puppet.cell();
      puppet.on(DATA, 0, puppet.call("proxy_get_current_time_nanoseconds", mark));
      const stage = Stage.started(puppet, { config: { isolation, maxInstances: 3 } });
      const [first, second] = [stage.connection(), stage.connection()];
      first.data("a");
      second.data("b");
      // The template has seen no connection at all.
      assert.deepEqual(calls(stage), []);
      assert.equal(stage.stats.values.get("wasm.puppet.instances"), 3);
      first.finish();
      second.finish();
      for (let n = 0; n < 20; n++) {
        const connection = stage.connection().data("x");
        assert.equal(connection.upstream, "x");
        connection.finish();
        await setImmediate();
      }
      assert.ok(stage.stats.values.get("wasm.puppet.instances")! <= 4);
    });
  }

  test("an instance is only taken when the connection comes to the filter", () => {
    const stage = Stage.started(new Puppet(), { config: { isolation: "stream", maxInstances: 1 } });
    const waiting = stage.connection();
    // Created, but a filter before it never lets the connection through: it does not hear of the end either.
    for (let n = 0; n < 5; n++) stage.networkFactory.create(waiting);
    assert.ok(stage.stats.values.get("wasm.puppet.instances")! <= 2);
  });
});
