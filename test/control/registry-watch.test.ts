/** Tags that are looked at: each once, for all plugins that have it, until what it stands for is here. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { PluginConfig, RemoteCode } from "../../runtime/config/snapshot.ts";
import { isConfiguredWith } from "../../runtime/control/load-request.ts";
import { RegistryWatch } from "../../runtime/control/registry-watch.ts";
import { MAX_TIMER_MS } from "../../runtime/limits.ts";
import { moduleOf, OciShelf } from "../artifact/oci-shelf.ts";
import { load } from "../config/fixture.ts";
import { pluginConfig } from "../wasm/stage.ts";

function code(uri: string, pinned = false): RemoteCode {
  return {
    kind: "remote",
    uri,
    sha256: "0".repeat(64),
    oci: { pinned },
    cluster: "none",
    timeoutMs: 0,
    retries: 0,
    retryBaseIntervalMs: 1,
    retryMaxIntervalMs: 1,
    nackOnCacheMiss: false,
  };
}

/** What was loaded, as it comes. */
class Loads {
  readonly loads: (readonly [reference: string, module: Buffer])[] = [];
  #heard = (): void => {};

  take(reference: string, module: Buffer): void {
    this.loads.push([reference, module]);
    this.#heard();
  }

  async until(found: () => boolean): Promise<void> {
    while (!found()) await new Promise<void>((resolve) => (this.#heard = resolve));
  }
}

function watch(
  shelf: OciShelf,
  plugins: readonly PluginConfig[],
  seen: ReadonlyMap<string, string>,
  loads: Loads,
): RegistryWatch {
  const watching = new RegistryWatch(
    shelf.source(),
    { plugins: () => plugins, load: (reference, { bytes }) => Promise.resolve(loads.take(reference, bytes)) },
    5,
    shelf.log,
  );
  watching.start(seen);
  return watching;
}

describe("tags that are looked at", () => {
  test("bring a new module in once for all plugins that are configured with them", async () => {
    const shelf = await new OciShelf().open();
    const first = shelf.push(moduleOf(1));
    const plugins = ["one", "two", ""].map((name) => pluginConfig({ name, code: code(shelf.uri()) }));
    const loads = new Loads();
    const watching = watch(shelf, plugins, new Map([[shelf.uri(), first]]), loads);
    shelf.push(moduleOf(2));
    await loads.until(() => loads.loads.length === 1);
    shelf.push(moduleOf(3));
    await loads.until(() => loads.loads.length === 2);
    watching.stop();
    assert.deepEqual(loads.loads, [
      [shelf.uri(), moduleOf(2)],
      [shelf.uri(), moduleOf(3)],
    ]);
    assert.ok(plugins.every((plugin) => isConfiguredWith({ reference: shelf.uri() }, plugin)));
    assert.ok(!isConfiguredWith({ reference: shelf.uri() }, pluginConfig({ name: "" })));
  });

  test("are looked at again when the module could not be fetched the first time", async () => {
    const shelf = await new OciShelf().open();
    const first = shelf.push(moduleOf(1));
    const loads = new Loads();
    shelf.push(moduleOf(2));
    const blob = [...shelf.things].find(([, bytes]) => bytes.equals(moduleOf(2)))!;
    shelf.things.delete(blob[0]);
    shelf.missed = (name) => {
      if (name === blob[0]) shelf.things.set(...blob);
    };
    const watching = watch(shelf, [pluginConfig({ code: code(shelf.uri()) })], new Map([[shelf.uri(), first]]), loads);
    await loads.until(() => loads.loads.length === 1);
    watching.stop();
    assert.deepEqual(loads.loads, [[shelf.uri(), moduleOf(2)]]);
    assert.match(shelf.log.lines.join(), /answered 404/);
  });
});

test("an interval that no timer can wait for is a long one", () => {
  const text = `bootstrap_extensions: [{ name: wasm, typed_config: { "@type": type.googleapis.com/sluice.v1.WasmRuntime, registries: { poll_interval: 100000000s } } }]`;
  const { snapshot, errors } = load(text);
  assert.deepEqual(errors, []);
  assert.equal(snapshot?.registries.pollMs, MAX_TIMER_MS);
});
