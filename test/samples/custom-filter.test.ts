/** The sample filter: built from its folder, run in the real host, its configuration checked by its own rules. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { COUNTER } from "../../abi/metric.ts";
import { exchange, route } from "../http/engine.ts";
import { encode, type FilterEngine, startFilters } from "../filters/filter-engine.ts";

const SAMPLE = fileURLToPath(new URL("../../samples/custom-filter/", import.meta.url));
const COMMAND = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));
const FOLDER = "samples/custom-filter/filter/tollgate";

let proxy: FilterEngine;
before(async () => {
  const proto = `${SAMPLE}filter/tollgate/tollgate.proto`;
  const configuration = encode(proto, "samples.tollgate.v1.Tollgate", { header: "x-token", tokens: ["open-sesame"] });
  proxy = await startFilters([{ filter: FOLDER, configuration, more: { filterName: "tollgate", bundled: false } }], {
    routes: [route("/", { kind: "direct_response", status: 200, body: "welcome\n" })],
  });
});
after(() => proxy.close());

describe("samples/custom-filter", () => {
  it("lets a known token pass and answers 401 without one", async () => {
    const port = proxy.engine.port;
    const head = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    const welcome = await exchange(port, `${head}x-token: open-sesame\r\n\r\n`);
    assert.match(welcome, /^HTTP\/1\.1 200 [^]*welcome\n$/);
    const refused = await exchange(port, `${head}\r\n`);
    assert.match(refused, /^HTTP\/1\.1 401 [^]*a token, please\n$/);
    assert.match(await exchange(port, `${head}x-token: other\r\n\r\n`), /^HTTP\/1\.1 401 /);
    assert.equal(proxy.metric(COUNTER, "wasmcustom.tollgate.refused"), 2);
  });

  it("has its configuration checked by the rules that the module carries", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-sample-"));
    try {
      const module = fileURLToPath(new URL("../../build/samples/tollgate.wasm", import.meta.url));
      const text = readFileSync(`${SAMPLE}sluice.yaml`, "utf8").replace("../../build/samples/tollgate.wasm", module);
      const file = join(folder, "sluice.yaml");
      const validate = (): Promise<unknown> => promisify(execFile)(process.execPath, [COMMAND, "validate", "-c", file]);
      writeFileSync(file, text);
      await validate();
      writeFileSync(file, text.replace("open-sesame", "short"));
      await assert.rejects(validate(), /:33:\d+: error: .*tokens\[0\]: must have at least 8 characters, has 5/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
