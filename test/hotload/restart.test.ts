/** A hot restart while versions are tried: the new process begins with what is configured, and says what it left behind. */
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Row, steadyLoad } from "../cli/restart-row.ts";
import { configuration, send, versionModule } from "./versions.ts";

test("versions and trials end with the process; no request fails meanwhile", async () => {
  const module = join(mkdtempSync(join(tmpdir(), "sluice-hotload-")), "versions.wasm");
  writeFileSync(module, await versionModule(1));
  const config = configuration(module);
  const row = new Row();
  const first = await row.next(config, "--concurrency", "1").live();
  const load = async (number: number, more = ""): Promise<void> => {
    const { status, body } = await send(first.admin, `/wasm/load?plugin=versions${more}`, await versionModule(number));
    assert.equal(status, 200, body);
  };
  await load(2);
  await load(3, "&percent=50");
  const running = steadyLoad(first.address);
  const second = await row.next(config, "--concurrency", "1").live();
  assert.match(
    second.output,
    /plugin versions: this process begins with the configured module \(sha256 [0-9a-f]{12}\), the one before had loaded another \(sha256 [0-9a-f]{12}\)/,
  );
  assert.match(
    second.output,
    /plugin versions: the process before was trying a version \(sha256 [0-9a-f]{12}\); its trial ends with it, load it again/,
  );
  assert.equal(await first.exited, 0, first.output);
  for (let n = 0; n < 10; n++) assert.equal((await second.get("/")).headers["x-version"], "0001");
  running.end();
  assert.equal((await running.result).errors, 0);
  const { body } = await second.get("/wasm?format=json", second.admin);
  const [plugin] = (JSON.parse(body) as { plugins: { version_number: number; trial?: unknown }[] }).plugins;
  assert.deepEqual([plugin!.version_number, plugin!.trial], [1, undefined]);
  // The configured file is the new version: nothing is left behind, and nothing is told.
  writeFileSync(module, await versionModule(4));
  const answer = await send(second.admin, "/wasm/load?plugin=versions", await versionModule(4));
  assert.equal(answer.status, 200, answer.body);
  const third = await row.next(config, "--concurrency", "1").live();
  assert.doesNotMatch(third.output, /the one before had loaded another/);
  assert.equal((await third.get("/")).headers["x-version"], "0004");
});
