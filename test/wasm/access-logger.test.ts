/** A plugin as access logger, through a real guest: what its root context can read of a stream that is over, and what it cannot do to it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as Status from "../../abi/status.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { StreamInfo } from "../../runtime/observe/stream-info.ts";
import { PluginLogger } from "../../runtime/wasm/plugin-factory.ts";
import { Puppet } from "./puppet.ts";
import type { Call } from "./puppet.ts";
import { Stage } from "./stage.ts";

const LOG = "proxy_on_log";

/** A stream of the stage that is over. */
function over(stage: Stage): StreamInfo {
  const { info } = stage.stream();
  info.responseHeaders = new HeaderMap([":status", "404", "x-r", "1"]);
  info.responseTrailers = new HeaderMap(["x-t", "2"]);
  info.responseCode = 404;
  info.completeMs = 1050;
  return info;
}

/** Statuses of the calls that a logger makes for one stream. */
function logged(puppet: Puppet, ...calls: Call[]): { stage: Stage; info: StreamInfo; statuses: number[] } {
  puppet.on(LOG, 0, ...calls);
  const stage = Stage.started(puppet);
  const info = over(stage);
  new PluginLogger(stage.factory).log(info);
  return { stage, info, statuses: calls.map((call) => stage.status(call)) };
}

describe("access logger", () => {
  test("is called once for each stream, in its root context", () => {
    const stage = Stage.started(new Puppet());
    const logger = new PluginLogger(stage.factory);
    const before = stage.trace.length;
    for (let n = 0; n < 3; n++) logger.log(over(stage));
    const root = stage.plugin.root!.id;
    assert.deepEqual(
      stage.trace.slice(before).map(({ name, args }) => [name, args[0]]),
      [1, 2, 3].map(() => [LOG, root]),
    );
  });

  test("hears of connections at their end only", () => {
    const stage = Stage.started(new Puppet());
    const info = over(stage);
    const logger = new PluginLogger(stage.factory);
    for (const type of ["TcpConnectionStart", "TcpUpstreamConnected", "TcpPeriodic", "TcpConnectionEnd"] as const) {
      info.recordType = type;
      logger.log(info);
    }
    assert.equal(stage.names.filter((name) => name === LOG).length, 1);
  });

  test("reads headers, trailers and properties", () => {
    const puppet = new Puppet();
    const places = Array.from({ length: 5 }, () => [puppet.cell(), puppet.cell()] as const);
    const [path, status, trailer, code, flag] = places as [Cell, Cell, Cell, Cell, Cell];
    const { stage, statuses } = logged(
      puppet,
      puppet.call("proxy_get_header_map_value", 0, ...puppet.text(":path"), ...path),
      puppet.call("proxy_get_header_map_value", 2, ...puppet.text(":status"), ...status),
      puppet.call("proxy_get_header_map_value", 3, ...puppet.text("x-t"), ...trailer),
      puppet.call("proxy_get_property", ...puppet.text("response\0code"), ...code),
      puppet.call("proxy_get_property", ...puppet.text("plugin_name"), ...flag),
      // There are no request trailers, and what is absent is not found.
      puppet.call("proxy_get_header_map_value", 1, ...puppet.text("x"), ...puppet.text("12345678")),
    );
    assert.deepEqual(statuses, [...places.map(() => Status.OK), Status.NOT_FOUND]);
    const texts = [path, status, trailer, flag].map((cell) => stage.given(...cell).toString());
    assert.deepEqual(texts, ["/a?b=c", "404", "2", "puppet"]);
    assert.equal(stage.given(...code).readBigInt64LE(), 404n);
  });

  test("changes nothing: no header, no body, no reply, no continuation", () => {
    const puppet = new Puppet();
    const cells = [puppet.cell(), puppet.cell()] as const;
    const { stage, info, statuses } = logged(
      puppet,
      puppet.call("proxy_add_header_map_value", 0, ...puppet.text("x-new"), ...puppet.text("1")),
      puppet.call("proxy_replace_header_map_value", 2, ...puppet.text("x-r"), ...puppet.text("2")),
      puppet.call("proxy_remove_header_map_value", 3, ...puppet.text("x-t")),
      puppet.call("proxy_set_header_map_pairs", 0, ...puppet.text("\0\0\0\0")),
      puppet.call("proxy_get_buffer_bytes", 0, 0, 10, ...cells),
      puppet.call("proxy_get_buffer_bytes", 1, 0, 10, ...cells),
      puppet.call("proxy_continue_stream", 0),
      puppet.call("proxy_close_stream", 0),
      puppet.call("proxy_send_local_response", 500, 0, 0, 0, 0, 0, 0, -1),
    );
    const refused = [...Array.from({ length: 4 }, () => Status.BAD_ARGUMENT), Status.NOT_FOUND, Status.NOT_FOUND];
    assert.deepEqual(statuses, [...refused, Status.OK, Status.OK, Status.OK]);
    assert.ok(info.requestHeaders!.has(":path") && !info.requestHeaders!.has("x-new"));
    assert.deepEqual(info.responseHeaders!.list, [":status", "404", "x-r", "1"]);
    assert.deepEqual(info.responseTrailers!.list, ["x-t", "2"]);
    assert.match(stage.log.lines.at(-1) ?? "", /no stream to answer/);
    // The next stream is logged as if nothing had been.
    new PluginLogger(stage.factory).log(over(stage));
    assert.equal(stage.names.filter((name) => name === LOG).length, 2);
  });

  test("sees nothing of a stream outside of its callback", () => {
    const puppet = new Puppet();
    const cells = [puppet.cell(), puppet.cell()] as const;
    const read = puppet.call("proxy_get_header_map_value", 0, ...puppet.text(":path"), ...cells);
    puppet.on("proxy_on_queue_ready", 0, read);
    const { stage } = logged(puppet);
    stage.plugin.root!.onQueueReady(1);
    assert.equal(stage.status(read), Status.BAD_ARGUMENT);
  });

  test("a trap costs the streams nothing, and the next one is logged by a fresh instance", async () => {
    const puppet = new Puppet();
    const stage = Stage.started(puppet.on(LOG, 0, puppet.trap()));
    const logger = new PluginLogger(stage.factory);
    const first = stage.instance;
    const info = over(stage);
    logger.log(info);
    assert.deepEqual([info.flags, info.responseCode], [0, 404]);
    logger.log(over(stage));
    await Promise.resolve();
    assert.notEqual(stage.instance, first);
    assert.deepEqual(
      ["traps", "vm_reload_success", "failed_streams"].map((name) => stage.stats.values.get(`wasm.puppet.${name}`)),
      [2, 2, undefined],
    );
  });
});

type Cell = readonly [number, number];
