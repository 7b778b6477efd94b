/**
 * Network filters in three languages behind real sockets: the wire filter. It holds bytes until a line is whole. The
 * line `call` waits for the answer of an HTTP call and becomes it, `who` becomes the port of the peer, `close` closes
 * the connection; other lines get the guest's tag in front, and so do answers. It logs what becomes of connections.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import type { TestContext } from "node:test";
import { buildFilter } from "../../filters/build/build.ts";
import type { Isolation } from "../../runtime/config/snapshot.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { PluginSet } from "../../runtime/wasm/plugin-set.ts";
import { dial, End, serve, terminal, until } from "../listener/chain.ts";
import { environmentFor, pluginConfig, RecordingLog, RecordingStats } from "../wasm/stage.ts";
import { Surroundings } from "./stage.ts";
import { built } from "./toolchains.ts";

let surroundings: Surroundings;
before(async () => {
  surroundings = await Surroundings.start();
});
after(() => surroundings.close());

/** Answers each piece with what it was. */
class Answerer extends End {
  override onData(data: Buffer, endStream: boolean): void {
    if (data.length > 0) this.connection.write(`got ${data.toString()}`);
    if (endStream) this.connection.endWrite();
  }
}

async function wasm(name: string): Promise<Uint8Array> {
  if (name !== "wire") return built(name);
  const folder = fileURLToPath(new URL("../guests/wire", import.meta.url));
  const outFolder = fileURLToPath(new URL("../../build/guests", import.meta.url));
  return readFileSync((await buildFilter(folder, { outFolder })).path);
}

async function stage(t: TestContext, name: string, isolation: Isolation) {
  const [log, stats] = [new RecordingLog(), new RecordingStats()];
  const environment = environmentFor({ upstreams: surroundings.upstreams }, log, stats);
  const config = pluginConfig({ name: "wire", isolation });
  const plugins = new PluginSet([config], [loadModule(await wasm(name), name)], environment);
  plugins.start();
  t.after(() => plugins.close());
  const { port } = await serve(t, [plugins.networkFilter(0), terminal((connection) => new Answerer(connection))]);
  const told = (text: string): boolean => log.lines.some((line) => line.endsWith(`: ${text}`));
  return { port, log, stats, told };
}

const LANGUAGES: readonly (readonly [name: string, tag: string])[] = [
  ["wire", "assemblyscript"],
  ["wire-c", "c"],
  ["wire-rust", "rust"],
];

for (const [name, tag] of LANGUAGES) {
  describe(name, () => {
    for (const isolation of ["worker", "connection", "stream"] as const) {
      test(`isolation ${isolation}`, async (t) => {
        const { port, log, stats, told } = await stage(t, name, isolation);
        const peer = await dial(t, port);
        const say = async (line: string, answer: string): Promise<void> => {
          const before = peer.text().length;
          peer.socket.write(line);
          await until(() => peer.text().length >= before + answer.length, `${answer} after ${line}`);
          assert.equal(peer.text().slice(before), answer);
        };
        await say("hello\n", `${tag}< got ${tag}> hello\n`);
        peer.socket.write("in ");
        await new Promise((resolve) => setImmediate(resolve));
        await say("two pieces\n", `${tag}< got ${tag}> in two pieces\n`);
        await say("who\n", `${tag}< got who ${peer.socket.localPort}\n`);
        await say("call\n", `${tag}< got call /wire:question\n`);
        peer.socket.end("no line");
        assert.match(await peer.ended, new RegExp(`\n${tag}< got no line$`));
        for (const text of [`${tag} ends`, `${tag} opens`, `${tag} upstream 0`])
          await until(() => told(text), `${text} is logged`);

        const closed = await dial(t, port);
        closed.socket.write("close\n");
        assert.equal(await closed.ended, "");
        await until(() => told(`${tag} closed 1`), "the close is logged");
        const left = await dial(t, port);
        await until(() => log.lines.filter((line) => line.endsWith(`${tag} opens`)).length === 3, "a third connection");
        left.socket.resetAndDestroy();
        await until(() => told(`${tag} closed 2`), "the peer's close is logged");
        assert.equal(stats.values.get("wasm.wire.traps") ?? 0, 0);
        assert.deepEqual(
          log.lines.filter((line) => line.startsWith("error")),
          [],
        );
      });
    }
  });
}
