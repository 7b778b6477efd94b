/** A plugin whose code is not there yet: its failure policy, in every callback, with every isolation, and nothing started. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Isolation, PluginConfig, RemoteCode } from "../../runtime/config/snapshot.ts";
import { HeadersStatus } from "../../runtime/http/filter.ts";
import { absentModule } from "../../runtime/wasm/module/absent.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { connectionSample } from "../observe/stream-sample.ts";
import { MemoryConnection } from "../../runtime/testkit/memory-connection.ts";
import { environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats } from "./stage.ts";

const CODE: RemoteCode = {
  kind: "remote",
  uri: "http://modules.test/a.wasm",
  cluster: "c",
  timeoutMs: 0,
  sha256: "ab".repeat(32),
  retries: 0,
  retryBaseIntervalMs: 1,
  retryMaxIntervalMs: 1,
  nackOnCacheMiss: false,
};

function staged(config: Partial<PluginConfig>): { set: PluginSet; stats: RecordingStats; log: RecordingLog } {
  const stats = new RecordingStats();
  const log = new RecordingLog();
  const set = new PluginSet(
    [pluginConfig({ code: CODE, ...config })],
    [absentModule(CODE)],
    environmentFor({}, log, stats),
  );
  set.start();
  return { set, stats, log };
}

describe("a plugin without code", () => {
  for (const isolation of ["worker", "connection", "stream"] satisfies Isolation[]) {
    test(`fails streams or lets them pass, isolation ${isolation}`, () => {
      const closed = staged({ isolation });
      const refused = new FakeStream(closed.set.httpFilter(0), {});
      assert.equal(refused.requestHead(), HeadersStatus.STOP_ALL_AND_WATERMARK);
      assert.deepEqual(
        refused.replies.map(({ status, details }) => [status, details]),
        [[503, "wasm_fail_stream{not_loaded}"]],
      );
      refused.finish();
      const open = staged({ isolation, failurePolicy: "FAIL_OPEN" });
      const passed = new FakeStream(open.set.httpFilter(0), {});
      assert.deepEqual([passed.requestHead(), passed.responseHead()], [HeadersStatus.CONTINUE, HeadersStatus.CONTINUE]);
      passed.finish();
      assert.deepEqual(passed.events, []);
      for (const { set, stats, log } of [closed, open]) {
        assert.deepEqual(log.lines, []);
        assert.equal(stats.values.get("wasm.puppet.pool_exhausted") ?? 0, 0);
        assert.equal(stats.values.get("wasm.envoy.wasm.runtime.v8.created") ?? 0, 0);
        const [status] = set.statuses();
        assert.deepEqual([status?.instances, status?.sha256, status?.source], [0, CODE.sha256, CODE.uri]);
        set.close();
      }
      assert.equal(closed.stats.values.get("wasm.puppet.failed_streams"), 1);
      assert.equal(open.stats.values.get("wasm.puppet.skipped_streams"), 1);
    });
  }

  test("closes connections or lets them pass", () => {
    const connect = (set: PluginSet): MemoryConnection =>
      new MemoryConnection(set.networkFilter(0), {
        ...connectionSample("127.0.0.1:1", "127.0.0.1:2"),
        closers: [],
      }).open();
    const closed = connect(staged({}).set);
    assert.deepEqual([closed.known, closed.closed], [false, true]);
    const open = connect(staged({ failurePolicy: "FAIL_OPEN" }).set).data("hello", true);
    assert.deepEqual([open.known, open.closed, open.upstream], [true, false, "hello"]);
  });

  test("logs nothing, and counts what it did not log", () => {
    const { set, stats } = staged({ service: "worker", isolation: "worker" });
    const { info } = new FakeStream(set.httpFilter(0), {});
    set.accessLogger(0).log(info);
    assert.equal(stats.values.get("wasm.puppet.skipped_streams"), 1);
  });
});
