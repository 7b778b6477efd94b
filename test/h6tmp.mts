import { readFileSync } from "node:fs";
import { loadModule } from "../runtime/wasm/module/module.ts";
import { PluginSet } from "../runtime/wasm/plugin-set.ts";
import { environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats } from "./wasm/stage.ts";
for (const t of [1,2]) {
const f = `/tmp/h6/${t}traps.wasm`;
const module = loadModule(readFileSync(f), f, undefined, (n)=>readFileSync(`/tmp/h6/${t}`+n));
const log = new RecordingLog();
const set = new PluginSet([pluginConfig({ name: "plain", fuel: 100000 })], [module], environmentFor({}, log, new RecordingStats()));
set.start();
for (let n = 1; n<=10;n++) { 
  await new Promise(r=>setTimeout(r,250));
  const many = new FakeStream(set.httpFilter(0) as never, { request: Array.from({ length: 2*n }, (_, n) => `x-${n}`) });
  many.requestHead();
  console.log(log.lines.splice(0).join("\n"));
}
set.close();
}
