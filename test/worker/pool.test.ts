import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, describe, test } from "node:test";
import type { Snapshot } from "../../runtime/config/snapshot.ts";
import { ProcessLog } from "../../runtime/observe/log.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { WorkerPool } from "../../runtime/worker/pool.ts";
import type { PoolSetup } from "../../runtime/worker/pool.ts";
import type { Script } from "./scripted-worker.ts";

const CODE = new URL("./scripted-worker.ts", import.meta.url);

/** A pool of scripted workers, and a way to wait for what it logs. */
class Bench {
  readonly lines: string[] = [];
  readonly lost: { index: number; hung: boolean }[] = [];
  readonly gone: number[] = [];
  readonly pool: WorkerPool;
  #wake: (() => void) | null = null;

  /** `watchMs`: between two looks at the heartbeats; default the pool's own, with which nobody here is taken for hanging. */
  constructor(concurrency: number, watchMs?: number) {
    const write = (line: string): void => {
      this.lines.push(line);
      this.#wake?.();
    };
    this.pool = new WorkerPool({
      concurrency,
      code: CODE,
      watchMs,
      log: new ProcessLog({ level: "info", write }).component("main"),
      owner: {
        onStats: () => {},
        onThreadGone: (thread) => this.gone.push(thread),
        onPluginsFailing: () => {},
        onWorkerLost: (index, hung) => this.lost.push({ index, hung }),
      },
    });
    after(() => this.pool.stop());
  }

  start(script: Script = {}): Promise<void> {
    return this.pool.start(setup(script));
  }

  get port(): number {
    return this.pool.bound[0]!.port;
  }

  async logged(text: string): Promise<void> {
    while (!this.lines.some((line) => line.includes(text)))
      await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  /** Sends a command to whichever worker gets the connection, and reads the answer to its end. */
  async send(command: string): Promise<string> {
    const socket = connect(this.port, "127.0.0.1");
    socket.on("error", () => {});
    let answer = "";
    socket.on("data", (data) => (answer += data.toString()));
    socket.write(command);
    // Not `once`, which an error ends: a worker that dies may reset the connection.
    await new Promise((resolve) => socket.once("close", resolve));
    return answer;
  }
}

function setup(script: Script): PoolSetup {
  const logLevels = { level: "info", components: [] } as const;
  const snapshot = { ...script, listeners: [] } as unknown as Snapshot;
  return {
    concurrency: 2,
    snapshot,
    modules: [],
    moduleOfPlugin: [],
    shared: SharedStore.create(),
    logLevels,
    logFormat: "text",
  };
}

describe("WorkerPool", () => {
  test("all workers share the port that the first one got", async () => {
    const bench = new Bench(3);
    await bench.start();
    assert.equal(bench.pool.bound.length, 1);
    const answers = new Set<string>();
    for (let n = 0; n < 200 && answers.size < 3; n++) answers.add(await bench.send("index"));
    assert.deepEqual([...answers].sort(), ["0", "1", "2"]);
  });

  for (const [command, why] of [
    ["throw", "told to"],
    ["exit", "exited with status 7"],
    ["hang", "no heartbeat"],
  ] as const) {
    test(`a worker that is told to ${command} is replaced, the others go on`, async () => {
      // Scripted workers beat forty times between two looks.
      const bench = new Bench(2, command === "hang" ? 200 : undefined);
      await bench.start();
      const before = bench.pool.workers();
      const victim = bench.send(command);
      await bench.logged("is back");
      await victim;
      assert.equal(bench.lost.length, 1);
      const { index, hung } = bench.lost[0]!;
      assert.equal(hung, command === "hang");
      const line = bench.lines.find((one) => one.includes("is gone"));
      assert.match(line!, new RegExp(`worker ${index} is gone, replaced in 10 ms: .*${why}`));
      const now = bench.pool.workers();
      assert.deepEqual(bench.gone, [before[index]!.thread]);
      assert.notEqual(now[index]!.thread, before[index]!.thread);
      assert.equal(now[index]!.restarts, 1);
      assert.equal(now[1 - index]!.thread, before[1 - index]!.thread);
      const answers = new Set<string>();
      for (let n = 0; n < 200 && answers.size < 2; n++) answers.add(await bench.send("index"));
      assert.deepEqual([...answers].sort(), ["0", "1"]);
    });
  }

  test("a worker that dies at once again and again is replaced ever more slowly", async () => {
    const bench = new Bench(1);
    await bench.start();
    await bench.send("throw");
    await bench.logged("is back");
    await bench.send("throw");
    await bench.logged("replaced in 20 ms");
  });

  test("the operator can have a worker replaced", async () => {
    const bench = new Bench(2);
    await bench.start();
    assert.equal(bench.pool.replace(1), true);
    assert.equal(bench.pool.replace(2), false);
    await bench.logged("worker 1 is back");
    assert.deepEqual(bench.lost, [{ index: 1, hung: false }]);
  });

  test("a worker that cannot be set up ends the start with its own reason", async () => {
    const bench = new Bench(2);
    await assert.rejects(bench.start({ failsToSetUp: 1 }), { code: "BAD_PLUGIN", message: "BAD_PLUGIN: told to" });
    assert.equal(bench.pool.bound.length, 0);
  });

  test("a worker that dies in set-up ends the start", async () => {
    const bench = new Bench(2);
    await assert.rejects(bench.start({ diesInSetUp: 0 }), {
      code: "WORKER_FAILED",
      message: /worker 0: exited with status 9/,
    });
  });

  test("every worker is asked about its clusters", async () => {
    const bench = new Bench(2);
    await bench.start();
    const [cluster] = await bench.pool.clusters();
    assert.equal(cluster?.hosts[0]?.cxTotal, 1 + 2);
  });

  test("who has something told to all workers hears when all have done it", async () => {
    const bench = new Bench(2);
    const drained = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
    await bench.start({ drained });
    await bench.pool.setDrainClose("health_check", true);
    assert.deepEqual([...drained], [1, 1]);
  });

  test("a worker that dies while it prepares is told of, and comes back after the change with what is in force then", async () => {
    const bench = new Bench(2);
    await bench.start({ diesInPrepare: 1, refusesInPrepare: 0, mark: "old" });
    const message = { kind: "prepare_plugins", id: bench.pool.newChangeId(), versions: [], silent: false } as const;
    const replies = await bench.pool.changePlugins(async (change) => {
      const all = await change.ask(message);
      await bench.logged("worker 1 is gone");
      // Long enough for it to be replaced, if that did not wait for the end of the change.
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.ok(!bench.lines.some((line) => line.includes("is back")));
      const snapshot = { mark: "new", listeners: [] } as unknown as Snapshot;
      change.settled({ snapshot, modules: [], moduleOfPlugin: [] }, []);
      return all;
    });
    assert.deepEqual(
      replies
        .map(({ index, answer }) => [index, typeof answer === "string" ? answer : answer.kind])
        .sort(([a], [b]) => Number(a) - Number(b)),
      [
        [0, "plugins_changed"],
        [1, "gone"],
      ],
    );
    await bench.logged("worker 1 is back");
    const marks = new Set<string>();
    for (let n = 0; n < 200 && marks.size < 2; n++) marks.add(await bench.send("mark"));
    assert.deepEqual([...marks].sort(), ["new", "old"]);
  });

  test("changes come one after the other", async () => {
    const bench = new Bench(1);
    await bench.start();
    const order: string[] = [];
    const change = (name: string): Promise<void> =>
      bench.pool.changePlugins(async () => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 5));
        order.push(`${name} ends`);
      });
    await Promise.all([change("a"), change("b")]);
    assert.deepEqual(order, ["a begins", "a ends", "b begins", "b ends"]);
  });

  test("after a drain nobody accepts and nobody is replaced", async () => {
    const bench = new Bench(2);
    await bench.start();
    await bench.pool.drain(60_000);
    assert.deepEqual(
      bench.pool.workers().map((worker) => worker.state),
      ["draining", "draining"],
    );
    const socket = connect(bench.port, "127.0.0.1");
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ECONNREFUSED");
    await bench.pool.stop();
    assert.deepEqual(
      bench.pool.workers().map((worker) => worker.state),
      ["gone", "gone"],
    );
    assert.equal(bench.lost.length, 0);
  });
});
