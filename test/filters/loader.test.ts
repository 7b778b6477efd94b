/** Strings of AssemblyScript guests as the host reads them (abort, console), against AssemblyScript's own loader. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as asc from "assemblyscript/asc";
import { assemblyScriptFunctions } from "../../runtime/wasm/host/assemblyscript.ts";
import type { Instance } from "../../runtime/wasm/instance/instance.ts";
import { GuestStrings } from "../../runtime/wasm/instance/guest-strings.ts";
import { GuestMemory } from "../../runtime/wasm/instance/memory.ts";

// Its declarations bring AssemblyScript's globals along, which would weaken the type check of everything else.
const require = createRequire(import.meta.url);
const { instantiate } = require("@assemblyscript/loader") as {
  instantiate(bytes: Uint8Array, imports: object): Promise<{ exports: LoaderExports }>;
};

interface LoaderExports {
  readonly memory: WebAssembly.Memory;
  text(): number;
  __getString(at: number): string;
}

const SOURCE = 'export function text(): string { return "grüße, \\u{1F980} and \\0 NUL"; }';

test("a guest's string is the same to the host and to the loader", async () => {
  let bytes = new Uint8Array();
  const { error } = await asc.main(["guest.ts", "--outFile", "guest.wasm", "--exportRuntime"], {
    readFile: (name: string) => (name === "guest.ts" ? SOURCE : null),
    writeFile: (name: string, contents: string | Uint8Array) => {
      if (name === "guest.wasm") bytes = new Uint8Array(contents as Uint8Array);
    },
    listFiles: () => [],
  });
  assert.equal(error, null);
  const { exports } = await instantiate(bytes, {});
  const at = exports.text();
  const logged: string[] = [];
  const memory = new GuestMemory(new GuestStrings(), () => {});
  memory.attach(exports.memory, () => 0);
  const instance = { memory, log: (_level: number, text: string) => logged.push(text) } as unknown as Instance;
  (assemblyScriptFunctions(instance)["console.log"] as (text: number) => void)(at);
  assert.deepEqual(logged, [exports.__getString(at)]);
  assert.equal(logged[0], "grüße, \u{1F980} and \0 NUL");
});
