/** Runs the errand filter of one language, with each isolation: same requests, same outcome, whatever the language. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { buildFilter } from "../../filters/build/build.ts";
import type { Isolation } from "../../runtime/config/snapshot.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import type { LoadedModule } from "../../runtime/wasm/module/module.ts";
import { ERRANDS, LIBRARY } from "./errands.ts";
import type { Errand } from "./errands.ts";
import { GuestStage, Surroundings } from "./stage.ts";
import { built } from "./toolchains.ts";

export interface Language {
  readonly name: string;
  /** What the guest calls itself; default its name. */
  readonly tag?: string;
  /** Errands that this guest's SDK has no function for. */
  readonly without?: readonly string[];
  /** It has WASI: an environment, clocks, and what it prints becomes lines of the log. */
  readonly wasi?: boolean;
  /** It keeps its configuration in global variables: each of a route's own needs a VM of its own. */
  readonly global?: boolean;
}

let surroundings: Surroundings;
before(async () => {
  surroundings = await Surroundings.start();
});
after(() => surroundings.close());

const CONFIG = {
  rootId: "errand",
  configuration: Buffer.from("plugin text"),
  vmConfiguration: Buffer.from("vm text"),
  environment: { ERRAND: "bread" },
};

async function run(stage: GuestStage, errand: Errand, tag: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    const answer = await stage.send(
      "/errand?a=b",
      [["x-do", errand.name], ...(errand.fields ?? [])],
      errand.pieces ?? ["some body"],
    );
    try {
      errand.check(answer, tag, stage.log.lines);
      return;
    } catch (error) {
      if (errand.patient !== true || tries === 6000) throw error;
      await sleep(10);
    }
  }
}

/** No failure of an instance, and none in the log. */
function assertUnharmed(stage: GuestStage): void {
  assert.deepEqual(
    stage.log.lines.filter((line) => line.startsWith("error plugin")),
    [],
  );
  assert.equal(stage.stats.values.get("wasm.guest.traps") ?? 0, 0);
}

/** Our own SDK's guest is built as filters are. */
async function moduleOf(name: string): Promise<Uint8Array> {
  if (name !== "errand") return built(name);
  const folder = fileURLToPath(new URL("../guests/errand", import.meta.url));
  const { path } = await buildFilter(folder, {
    outFolder: fileURLToPath(new URL("../../build/guests", import.meta.url)),
  });
  return readFileSync(path);
}

/** Declares the tests of a language. */
export function speaks({ name, tag = name, without = [], wasi = false, global = false }: Language): void {
  describe(name, () => {
    let module: LoadedModule;
    before(async () => {
      module = loadModule(await moduleOf(name), name);
    });
    for (const isolation of ["worker", "connection", "stream"] satisfies Isolation[]) {
      test(`runs every errand with isolation ${isolation}`, async (t) => {
        const stage = await GuestStage.start(module, surroundings, { ...CONFIG, isolation });
        t.after(() => stage.close());
        for (const errand of ERRANDS) {
          if (without.includes(errand.name)) continue;
          await t.test(errand.name, () => run(stage, errand, tag));
        }
        // Several streams of each kind at the same time.
        const together = ERRANDS.filter((one) => !without.includes(one.name) && one.patient !== true);
        await Promise.all(together.flatMap((errand) => [1, 2, 3].map(() => run(stage, errand, tag))));
        assertUnharmed(stage);
        assert.ok(stage.log.lines.some((line) => line.endsWith(`: ${tag} done 200 headers`)));
        assert.ok(stage.log.lines.some((line) => line.endsWith(`: ${tag} done 418 reply`)));
      });
    }

    if (wasi) {
      test("environment, clocks, and lines of standard output and standard error in the log", async (t) => {
        const stage = await GuestStage.start(module, surroundings, { ...CONFIG, isolation: "worker" });
        t.after(() => stage.close());
        await run(stage, LIBRARY, tag);
        assert.ok(stage.log.lines.some((line) => line.startsWith("2 ") && line.endsWith(`: ${tag} configured`)));
        if (name !== "tinygo")
          assert.ok(stage.log.lines.some((line) => line.startsWith("4 ") && line.endsWith(`: ${tag} complains`)));
        assertUnharmed(stage);
      });
    }

    test("a trap is its own stream's, and the next one is served", async (t) => {
      const stage = await GuestStage.start(module, surroundings, { ...CONFIG, isolation: "worker" });
      t.after(() => stage.close());
      const answer = await stage.send("/", [["x-do", "trap"]], ["body"]);
      assert.equal(answer.status, 503);
      await run(stage, ERRANDS[0]!, tag);
      assert.equal(stage.stats.values.get("wasm.guest.traps"), 1);
    });

    const routeConfigurations = ["one", "two"].map((text, n) => ({ id: n + 1, bytes: Buffer.from(`route ${text}`) }));
    for (const isolation of ["worker", "connection", "stream"] satisfies Isolation[]) {
      test(`routes have configurations of their own with isolation ${isolation}`, async (t) => {
        const config = { ...CONFIG, isolation, routeConfigurations, ownRouteVms: global };
        const stage = await GuestStage.start(module, surroundings, config);
        t.after(() => stage.close());
        const ask = async (path: string): Promise<string> =>
          (await stage.send(path, [["x-do", "config"]], ["body"])).arrived?.headers["x-config"]?.join() ?? "";
        assert.deepEqual(await Promise.all(["/route2", "/", "/route1", "/route2"].map(ask)), [
          "route two|vm text",
          "plugin text|vm text",
          "route one|vm text",
          "route two|vm text",
        ]);
        assertUnharmed(stage);
        if (isolation === "worker") assert.equal(stage.stats.values.get("wasm.guest.instances"), global ? 3 : 1);
      });
    }

    test("a refused configuration of a route refuses the plugin", async () => {
      const refused = [{ id: 1, bytes: Buffer.from("refuse") }];
      await assert.rejects(
        GuestStage.start(module, surroundings, { ...CONFIG, routeConfigurations: refused, ownRouteVms: global }),
        /GUEST_CONFIGURE/,
      );
    });

    test("a refused configuration refuses the plugin", async () => {
      await assert.rejects(
        GuestStage.start(module, surroundings, { ...CONFIG, configuration: Buffer.from("refuse") }),
        /GUEST_CONFIGURE/,
      );
    });
  });
}
