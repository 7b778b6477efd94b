/** Which versions are kept, which one serves, and what a rollback goes back to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Snapshot } from "../../runtime/config/snapshot.ts";
import { PluginVersions } from "../../runtime/control/plugin-versions.ts";
import type { Version } from "../../runtime/control/plugin-versions.ts";
import type { LoadedModule } from "../../runtime/wasm/module/module.ts";
import { pluginConfig } from "../wasm/stage.ts";

const MODULE = { name: "m.wasm", sha256: "aa", manifest: undefined } as unknown as LoadedModule;

function versionsOf(keepVersions: number): PluginVersions {
  const plugins = [
    pluginConfig({ name: "one", filterName: "f1" }),
    pluginConfig({ name: "two", filterName: "f2", vmId: "vm" }),
    pluginConfig({ name: "three", filterName: "f3", vmId: "vm" }),
    pluginConfig({ name: "one", filterName: "f4" }),
  ];
  const snapshot = { plugins, hotLoad: { keepVersions } } as unknown as Snapshot;
  return new PluginVersions({ snapshot, modules: [MODULE], moduleOfPlugin: [0, 0, 0, 0] }, new Date(0));
}

function next(versions: PluginVersions, indices: readonly number[] = [0]): Version[] {
  const made = versions.make(indices, (index) => ({ ...versions.live(index), source: "next" }));
  versions.committed(made);
  return made;
}

const numbers = (versions: PluginVersions): number[] => versions.kept(0).map(({ number }) => number);

test("plugins of a name, and those in one VM, are replaced together", () => {
  const versions = versionsOf(3);
  assert.deepEqual(versions.named("one"), [0, 3]);
  assert.deepEqual(versions.named("f2"), [1]);
  assert.deepEqual(versions.together([1]), [1, 2]);
  assert.deepEqual(versions.together([3]), [0, 3]);
  assert.throws(() => versions.named("four"), { code: "PLUGIN_UNKNOWN", message: /there is one, two, three$/ });
});

test("the oldest are let go, failed ones before them, the one that serves never", () => {
  const versions = versionsOf(3);
  next(versions);
  const failed = versions.make([0], (index) => versions.live(index));
  versions.failed(failed, "trapped");
  assert.deepEqual(numbers(versions), [1, 2, 3]);
  next(versions);
  assert.deepEqual(numbers(versions), [1, 2, 4]);
  next(versions);
  assert.deepEqual(numbers(versions), [2, 4, 5]);
  const alone = versionsOf(1);
  next(alone);
  assert.deepEqual([numbers(alone), alone.previous(0)], [[2], undefined]);
});

test("a rollback goes back in the order of service, and what came after it is not gone back to", () => {
  const versions = versionsOf(5);
  const [second] = next(versions);
  next(versions);
  assert.equal(versions.previous(0)!.number, 2);
  versions.committed([second!]);
  assert.deepEqual([versions.live(0).number, versions.previous(0)!.number], [2, 1]);
  next(versions);
  assert.deepEqual([versions.live(0).number, versions.previous(0)!.number], [4, 2]);
});

test("what could not be built is forgotten, what has served is not", () => {
  const versions = versionsOf(5);
  const [second] = next(versions);
  next(versions);
  versions.forget([second!]);
  versions.forget(versions.make([0], (index) => versions.live(index)));
  assert.deepEqual(numbers(versions), [1, 2, 3]);
});
