import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import asc from "assemblyscript/asc";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats } from "./stage.ts";

async function compile(): Promise<Uint8Array> {
  const source = readFileSync(new URL("../guests/plain/plain.ts", import.meta.url), "utf8");
  let binary: Uint8Array | undefined;
  const { error } = await asc.main(["plain.ts", "--outFile", "plain.wasm", "--debug"], {
    readFile: (name) => (name === "plain.ts" ? source : null),
    writeFile: (_name, contents) => {
      if (typeof contents !== "string") binary = contents;
    },
    listFiles: () => [],
  });
  assert.equal(error, null, String(error));
  assert.ok(binary !== undefined);
  return binary;
}

test("a default AssemblyScript build: its start section logs, its abort names file and line, the next stream is served", async () => {
  const module = loadModule(await compile(), "plain.wasm");
  assert.equal(module.hasStartSection, true);
  const log = new RecordingLog();
  const set = new PluginSet([pluginConfig({ name: "plain" })], [module], environmentFor({}, log, new RecordingStats()));
  set.start();
  assert.deepEqual(log.lines, ["2 wasm log   : top level, seeded true"]);
  const stream = new FakeStream(set.httpFilter(0), {});
  assert.equal(stream.requestHead(), 0);
  assert.equal(log.lines.at(-1), "3 wasm log plain root : 5 fields");
  const many = new FakeStream(set.httpFilter(0), { request: Array.from({ length: 22 }, (_, n) => `x-${n}`) });
  many.requestHead();
  assert.deepEqual(many.events, ["reply 503"]);
  assert.match(
    log.lines.at(-1) ?? "",
    /plugin plain \(sha256 [0-9a-f]{12}\): abort: 11 fields are too many at plain\.ts:12:\d+ in proxy_on_request_headers/,
  );
  const next = new FakeStream(set.httpFilter(0), {});
  assert.equal(next.requestHead(), 0);
  assert.equal(log.lines.at(-1), "3 wasm log plain root : 5 fields");
  set.close();
});
