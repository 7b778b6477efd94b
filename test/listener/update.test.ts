/** Another configuration while connections are served: what stays, what ends, and that nobody notices. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { ListenerConfig } from "../../runtime/config/snapshot.ts";
import { ListenerSet } from "../../runtime/listener/listener-set.ts";
import type { ListenerChanges } from "../../runtime/listener/listener-update.ts";
import type { ConnectionView, TerminalFilter, TerminalFilterFactory } from "../../runtime/network/filter.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { chain, closed, config, environment, ip, open, say } from "./fixture.ts";

/** Answers each byte with the name of its chain, and with a mark when that was the last answer. */
class Answering implements TerminalFilter {
  readonly #connection: ConnectionView;
  readonly #chain: AnsweringChain;
  constructor(connection: ConnectionView, chain_: AnsweringChain) {
    this.#connection = connection;
    this.#chain = chain_;
  }
  onNewConnection(): void {}
  onData(data: Buffer, endStream: boolean): void {
    const { name, last } = this.#chain;
    if (data.length > 0) this.#connection.write(`${name}${last ? "!" : ""};`);
    if (endStream || last) this.#connection.close(1000);
  }
  onWritable(): void {}
  onDraining(): void {
    this.#connection.close(1000);
  }
  onClose(): void {}
}

class AnsweringChain implements TerminalFilterFactory {
  readonly terminal = true;
  readonly name: string;
  last = false;
  constructor(name: string) {
    this.name = name;
  }
  create(connection: ConnectionView): TerminalFilter {
    return new Answering(connection, this);
  }
  retire(): void {
    this.last = true;
  }
}

interface Stage {
  readonly set: ListenerSet;
  readonly stats: StatsStore;
  /** How often chains were made, by name. */
  readonly made: Map<string, number>;
  update(configs: readonly ListenerConfig[], endMs?: number): Promise<ListenerChanges>;
}

async function stage(t: TestContext, configs: readonly ListenerConfig[]): Promise<Stage> {
  const stats = new StatsStore(() => {});
  const made = new Map<string, number>();
  const set = new ListenerSet(
    configs,
    environment(stats, ({ name }) => {
      if (name === "broken") throw new Error("no such chain");
      made.set(name, (made.get(name) ?? 0) + 1);
      return [new AnsweringChain(name)];
    }),
  );
  t.after(() => set.close());
  await set.start();
  return {
    set,
    stats,
    made,
    async update(next, endMs = 60_000) {
      const prepared = await set.prepare(next);
      void set.commit(prepared, { overMs: 0, endMs });
      return prepared.changes;
    },
  };
}

/** A connection that asks and hears. */
class Talk {
  readonly socket: Socket;
  constructor(socket: Socket) {
    this.socket = socket.on("error", () => {});
  }
  async ask(): Promise<string> {
    this.socket.write("x");
    const [data] = (await once(this.socket, "data")) as [Buffer];
    return data.toString();
  }
}

async function talk(t: TestContext, port: number): Promise<Talk> {
  const socket = await open({ host: "127.0.0.1", port });
  t.after(() => socket.destroy());
  return new Talk(socket);
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const named = (name: string, more: Partial<ListenerConfig> = {}, host = "127.0.0.1"): ListenerConfig =>
  config(ip(host), { name, statPrefix: name, filterChains: [chain(name)], ...more });

test("the same configuration changes nothing", async (t) => {
  const { update, made, set } = await stage(t, [named("a"), named("b")]);
  const first = await talk(t, set.bound[0]!.port);
  assert.equal(await first.ask(), "a;");
  assert.deepEqual(await update([named("b"), named("a")]), {
    added: [],
    updatedInPlace: [],
    modified: [],
    removed: [],
  });
  assert.equal(await first.ask(), "a;");
  assert.deepEqual(
    [...made],
    [
      ["a", 1],
      ["b", 1],
    ],
  );
});

test("only chains differ: connections of those that stay live on, the others end with their next answer", async (t) => {
  const local = chain("stays", { sourcePrefixRanges: ["127.0.0.1/32"] });
  const goes = chain("goes", { sourcePrefixRanges: ["127.0.0.2/32"] });
  const { update, made, set, stats } = await stage(t, [named("a", { filterChains: [local, goes] })]);
  const { port } = set.bound[0]!;
  const staying = await talk(t, port);
  const going = new Talk(connect({ host: "127.0.0.1", port, localAddress: "127.0.0.2" }));
  assert.equal(await staying.ask(), "stays;");
  assert.equal(await going.ask(), "goes;");
  const next = [named("a", { filterChains: [chain("comes", { sourcePrefixRanges: ["127.0.0.2/32"] }), local] })];
  assert.deepEqual(await update(next), { added: [], updatedInPlace: ["a"], modified: [], removed: [] });
  const draining = stats.gauge("listener_manager.total_filter_chains_draining", "max");
  assert.equal(draining.value, 1);
  assert.equal(await going.ask(), "goes!;");
  await once(going.socket, "close");
  const fresh = new Talk(connect({ host: "127.0.0.1", port, localAddress: "127.0.0.2" }));
  assert.equal(await fresh.ask(), "comes;");
  assert.equal(await staying.ask(), "stays;");
  assert.equal(made.get("stays"), 1);
  assert.equal(stats.counter("listener_manager.listener_in_place_updated").value, 1);
  fresh.socket.destroy();
});

test("connections that do not end by themselves are ended after the drain time", async (t) => {
  const { update, set, stats } = await stage(t, [named("a"), named("b")]);
  const first = await talk(t, set.bound[0]!.port);
  const second = await talk(t, set.bound[1]!.port);
  assert.deepEqual([await first.ask(), await second.ask()], ["a;", "b;"]);
  const ended = Promise.all([once(first.socket, "close"), once(second.socket, "close")]);
  const changes = await update([named("a", { filterChains: [chain("a2")] })], 20);
  assert.deepEqual(changes, { added: [], updatedInPlace: ["a"], modified: [], removed: ["b"] });
  await ended;
  await until(() => stats.gauge("listener_manager.total_listeners_draining", "max").value === 0);
  await until(() => stats.gauge("listener_manager.total_filter_chains_draining", "max").value === 0);
  await until(() => stats.gauge("listener.b.downstream_cx_active").value === 0);
});

test("another setting: a new listener takes the socket over, and the old one's connections finish", async (t) => {
  const { update, set, stats } = await stage(t, [named("a")]);
  const { port } = set.bound[0]!;
  const [before, silent] = [await talk(t, port), await talk(t, port)];
  assert.deepEqual([await before.ask(), await silent.ask()], ["a;", "a;"]);
  const changes = await update([named("a", { perConnectionBufferLimitBytes: 2048, filterChains: [chain("new")] })]);
  assert.deepEqual(changes, { added: [], updatedInPlace: [], modified: ["a"], removed: [] });
  assert.equal(set.bound[0]!.port, port);
  assert.equal(await say({ host: "127.0.0.1", port }, "x"), "new;");
  assert.equal(await before.ask(), "a!;");
  await once(before.socket, "close");
  assert.equal(stats.counter("listener_manager.listener_modified").value, 1);
  const draining = stats.gauge("listener_manager.total_listeners_draining", "max");
  assert.equal(draining.value, 1);
  silent.socket.destroy();
  await until(() => draining.value === 0);
});

test("an address more, an address less: the socket of the one that stays is kept", async (t) => {
  const more = { additionalAddresses: [ip("127.0.0.3")] };
  const { update, set } = await stage(t, [named("a", more)]);
  const [first, second] = set.bound;
  await update([named("a", { additionalAddresses: [ip("127.0.0.3"), ip("127.0.0.4")] })]);
  assert.deepEqual(set.bound.slice(0, 2), [first, second]);
  const third = set.bound[2]!;
  assert.equal(await say({ host: "127.0.0.4", port: third.port }, "x"), "a;");
  await update([named("a")]);
  assert.deepEqual(set.bound, [first]);
  assert.equal(await say({ host: "127.0.0.1", port: first!.port }, "x"), "a;");
  await assert.rejects(open({ host: "127.0.0.3", port: second!.port }), /ECONNREFUSED/);
});

test("a listener that comes serves at once, one that goes accepts no more", async (t) => {
  const { update, set, stats } = await stage(t, [named("a")]);
  const { port } = set.bound[0]!;
  await update([named("b")]);
  assert.equal(await say({ host: "127.0.0.1", port: set.bound[0]!.port }, "x"), "b;");
  await assert.rejects(open({ host: "127.0.0.1", port }), /ECONNREFUSED/);
  const value = (name: string): number => stats.counter(`listener_manager.${name}`).value;
  assert.deepEqual([value("listener_added"), value("listener_removed")], [1, 1]);
});

test("a failure changes nothing: a chain that cannot be made, an address that cannot be bound", async (t) => {
  const { update, set } = await stage(t, [named("a"), named("b")]);
  const [a, b] = set.bound;
  const old = await talk(t, a!.port);
  assert.equal(await old.ask(), "a;");
  const broken = [named("a", { filterChains: [chain("broken")] }), named("c")];
  await assert.rejects(update(broken), /no such chain/);
  const taken = config(ip("127.0.0.1", b!.port), { name: "d", statPrefix: "d", reusePort: false });
  await assert.rejects(update([named("a", { backlog: 7 }), named("b"), taken]), /BIND_FAILED: listener d/);
  assert.deepEqual(set.bound, [a, b]);
  assert.equal(await old.ask(), "a;");
  assert.equal(await say({ host: "127.0.0.1", port: a!.port }, "x"), "a;");
  assert.equal(await say({ host: "127.0.0.1", port: b!.port }, "x"), "b;");
});

test("what is prepared can be given up", async (t) => {
  const { set } = await stage(t, [named("a")]);
  const prepared = await set.prepare([named("a", { backlog: 7 }), named("b")]);
  const b = prepared.bound.find(({ name }) => name === "b")!;
  // It is bound already, and what connects waits for the decision.
  const waiting = await open({ host: "127.0.0.1", port: b.port });
  const refused = closed(waiting.resume());
  prepared.abort();
  await refused;
  assert.equal(await say({ host: "127.0.0.1", port: set.bound[0]!.port }, "x"), "a;");
  const again = await set.prepare([named("a"), named("b")]);
  const early = await open({ host: "127.0.0.1", port: again.bound[0]!.port });
  void set.commit(again, { overMs: 0, endMs: 1000 });
  early.write("x");
  const [answer] = (await once(early, "data")) as [Buffer];
  assert.equal(answer.toString(), "b;");
  early.destroy();
});

test("under load: no request fails, whatever is updated", async (t) => {
  const { update, set, stats } = await stage(t, [named("a")]);
  const { port } = set.bound[0]!;
  let answers = 0;
  let failures = 0;
  let done = false;
  const load = async (): Promise<void> => {
    while (!done) {
      const socket = await open({ host: "127.0.0.1", port }).catch(() => null);
      if (socket === null) {
        failures++;
        continue;
      }
      const talking = new Talk(socket);
      socket.on("close", () => socket.emit("data", Buffer.from("closed")));
      for (let answer = ""; !done && !answer.endsWith("!;");) {
        answer = await talking.ask();
        answers++;
        if (!/^v\d+!?;$|^a!?;$/.test(answer)) failures++;
        if (answer === "closed") break;
      }
      socket.removeAllListeners("close").destroy();
    }
  };
  const clients = Promise.all(Array.from({ length: 16 }, load));
  for (let version = 0; version < 40; version++) {
    const before = answers;
    // Chains alone, then a setting too.
    const more = version % 2 === 0 ? {} : { perConnectionBufferLimitBytes: 4096 + version };
    await update([named("a", { filterChains: [chain(`v${version}`)], ...more })]);
    await until(() => answers > before + 100);
  }
  done = true;
  await clients;
  assert.equal(failures, 0);
  assert.ok(answers > 4000);
  assert.ok(stats.counter("listener_manager.listener_in_place_updated").value > 0);
  assert.ok(stats.counter("listener_manager.listener_modified").value > 0);
});

test("a unix socket whose listener is replaced keeps its file, and loses it with the last one", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "s");
  const pipe = (more: Partial<ListenerConfig> = {}): ListenerConfig => ({
    ...named("a", more),
    address: { kind: "pipe", path, mode: 0o600 },
  });
  const { update } = await stage(t, [pipe()]);
  assert.equal(await say({ path }, "x"), "a;");
  // The same socket goes on.
  await update([pipe({ perConnectionBufferLimitBytes: 2048 })]);
  assert.equal(await say({ path }, "x"), "a;");
  await update([pipe({ backlog: 7 })]);
  assert.equal(await say({ path }, "x"), "a;");
  // A change that fails leaves socket, file and mode alone.
  const open = { ...pipe(), address: { kind: "pipe", path, mode: 0o666 } as const };
  const taken = config(ip("192.0.2.1", 1), { name: "b" });
  await assert.rejects(update([open, taken]), /BIND_FAILED: listener b/);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(await say({ path }, "x"), "a;");
  await update([open]);
  assert.equal(statSync(path).mode & 0o777, 0o666);
  assert.equal(await say({ path }, "x"), "a;");
  await update([]);
  assert.equal(existsSync(path), false);
});
