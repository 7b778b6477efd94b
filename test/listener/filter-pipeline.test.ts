/** Listener filters between accept and the filter chain: what they see, what they change, and who ends the waiting. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { createServer } from "node:net";
import { TLSSocket } from "node:tls";
import type { ListenerFilterPredicate } from "../../runtime/config/listener-snapshot.ts";
import type { ListenerConfig } from "../../runtime/config/snapshot.ts";
import { FilterPipeline } from "../../runtime/listener/filter-pipeline.ts";
import { SocketFacts, Verdict } from "../../runtime/listener/listener-filter.ts";
import type { ListenerFilter } from "../../runtime/listener/listener-filter.ts";
import { type ConfiguredFilter, listenerFilters } from "../../runtime/listener/listener-filters.ts";
import { readInto } from "../../runtime/listener/read-buffer.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { StillClock } from "../still-clock.ts";
import { config, ip } from "./fixture.ts";

/** Waits for a whole line and notes it as the server name; `take` removes it. */
function lineFilter({ max = 64, take = false, seen = [] as string[] } = {}): ListenerFilter {
  return {
    maxReadBytes: max,
    onAccept: () => Verdict.NEED_MORE,
    onData: (facts, bytes) => {
      seen.push(bytes.toString());
      const end = bytes.indexOf(10);
      if (end === -1) return Verdict.NEED_MORE;
      facts.serverName = bytes.toString("latin1", 0, end);
      if (facts.serverName === "bad") {
        facts.failure = "bad_line";
        return Verdict.CLOSE;
      }
      if (take) facts.consume(end + 1);
      return Verdict.CONTINUE;
    },
    onAbort: () => void seen.push("abort"),
  };
}

const port: ListenerFilter = {
  maxReadBytes: 0,
  onAccept: (facts) => {
    facts.localPort = 3306;
    return Verdict.CONTINUE;
  },
  onData: () => Verdict.CONTINUE,
};

interface Stage {
  readonly stats: StatsStore;
  readonly log: string[];
  readonly passed: { socket: Socket; facts: SocketFacts }[];
  readonly refused: { readonly count: number };
  readonly pipeline: FilterPipeline;
  connect(): Promise<Socket>;
  stat(name: string): number;
}

/** A pipeline of filters made for each socket, behind a real socket. */
async function stage(
  t: TestContext,
  filters: readonly (() => ListenerFilter)[],
  more: Partial<ListenerConfig> = {},
  disabled: ConfiguredFilter["disabled"] = null,
): Promise<Stage> {
  const stats = new StatsStore(() => {});
  const log: string[] = [];
  const passed: { socket: Socket; facts: SocketFacts }[] = [];
  const refused = { count: 0 };
  const pipeline = new FilterPipeline(config(ip("127.0.0.1"), more), stats, {
    log: (message) => log.push(message),
    filters: filters.map((create, at) => ({ factory: { name: `f${at}`, create }, disabled })),
  });
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    t.after(() => socket.destroy());
    pipeline.run(socket, new SocketFacts(socket), {
      onFiltered: (filtered, facts) => void passed.push({ socket: filtered, facts }),
      onRefused: () => void refused.count++,
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return {
    stats,
    log,
    passed,
    refused,
    pipeline,
    async connect() {
      const socket = connect(address.port, "127.0.0.1").setNoDelay();
      t.after(() => socket.destroy());
      await once(socket, "connect");
      return socket;
    },
    stat: (name) => {
      const gauge = name.endsWith("_active");
      return gauge ? stats.gauge(`listener.l.${name}`).value : stats.counter(`listener.l.${name}`).value;
    },
  };
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setImmediate(resolve));
}

/** All that a connection of a chain would get from the socket. */
function reader(socket: Socket): { readonly text: () => string; readonly socket: Socket } {
  let text = "";
  const reading = readInto(socket, 1024, { onBytes: (data) => void (text += data.toString()) });
  return { text: () => text, socket: reading };
}

test("bytes that filters saw come first, in order, whoever reads the socket next", async (t) => {
  const seen: string[] = [];
  const { connect: open, passed, stat } = await stage(t, [() => lineFilter({ seen }), () => port]);
  const socket = await open();
  socket.write("na");
  await until(() => seen.length === 1);
  assert.equal(stat("downstream_pre_cx_active"), 1);
  socket.write("me\nrest");
  await until(() => passed.length === 1);
  assert.equal(stat("downstream_pre_cx_active"), 0);
  assert.deepEqual(seen, ["na", "name\nrest"]);
  assert.deepEqual([passed[0]!.facts.serverName, passed[0]!.facts.localPort], ["name", 3306]);
  const { text } = reader(passed[0]!.socket);
  socket.write(" and more");
  await until(() => text() === "name\nrest and more");
});

test("a reader that paused gets nothing until it goes on, and then in order", async (t) => {
  const { connect: open, passed } = await stage(t, [() => lineFilter()]);
  const socket = await open();
  socket.write("name\n1");
  await until(() => passed.length === 1);
  const { text, socket: reading } = reader(passed[0]!.socket);
  reading.pause();
  socket.write("2");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(text(), "");
  reading.resume();
  await until(() => text() === "name\n12");
});

test("a TLS socket finds the bytes too", async (t) => {
  const { connect: open, passed } = await stage(t, [() => lineFilter({ take: true })]);
  const socket = await open();
  socket.write("name\n\x16\x03\x01");
  await until(() => passed.length === 1);
  // The rest is no hello: that TLS complains of it shows that it was given the bytes.
  const secure = new TLSSocket(passed[0]!.socket, { isServer: true });
  socket.write("\x00\x01garbage");
  const [error] = (await once(secure, "error")) as [Error & { code?: string }];
  assert.match(error.code ?? "", /^ERR_SSL/);
});

test("consumed bytes are gone for the next filter and for the reader", async (t) => {
  const seen: string[] = [];
  const { connect: open, passed } = await stage(t, [() => lineFilter({ take: true }), () => lineFilter({ seen })]);
  const socket = await open();
  socket.write("first\nsecond\nrest");
  await until(() => passed.length === 1);
  assert.equal(passed[0]!.facts.serverName, "second");
  assert.deepEqual(seen, ["second\nrest"]);
  const { text } = reader(passed[0]!.socket);
  await until(() => text() === "second\nrest");
});

test("a filter that never decides is overruled at its limit", async (t) => {
  const { connect: open, passed, stat, log } = await stage(t, [() => lineFilter({ max: 10 })]);
  const socket = await open();
  socket.write("0123456789abc");
  await once(socket.resume(), "close");
  assert.equal(stat("downstream_listener_filter_error"), 1);
  assert.equal(stat("downstream_pre_cx_active"), 0);
  assert.equal(passed.length, 0);
  assert.match(
    log[0]!,
    /listener l: closed a connection before its filter chain was chosen: no decision after 13 bytes/,
  );
});

test("a filter that refuses says why", async (t) => {
  const { connect: open, passed, stat, log } = await stage(t, [() => lineFilter()]);
  const socket = await open();
  socket.write("bad\n");
  await once(socket.resume(), "close");
  assert.match(log[0]!, /bad_line/);
  assert.deepEqual([passed.length, stat("downstream_pre_cx_active")], [0, 0]);
});

test("the timeout closes, or goes on with what is known", async (t) => {
  const seen: string[] = [];
  const closing = await stage(t, [() => lineFilter({ seen })], { listenerFiltersTimeoutMs: 30 });
  const clock = new StillClock(t);
  const first = await closing.connect();
  first.write("half");
  await until(() => seen.length === 1);
  clock.pass(30);
  await once(first.resume(), "close");
  assert.equal(closing.stat("downstream_pre_cx_timeout"), 1);
  assert.equal(closing.passed.length, 0);
  assert.deepEqual(seen, ["half", "abort"]);

  const more = { listenerFiltersTimeoutMs: 30, continueOnListenerFiltersTimeout: true };
  const heard: string[] = [];
  const going = await stage(t, [() => lineFilter({ seen: heard }), () => port], more);
  const second = await going.connect();
  second.write("half");
  await until(() => heard.length === 1);
  clock.pass(30);
  await until(() => going.passed.length === 1);
  assert.equal(going.stat("downstream_pre_cx_timeout"), 1);
  // The filter after the one that waited did not run.
  assert.notEqual(going.passed[0]!.facts.localPort, 3306);
  const { text } = reader(going.passed[0]!.socket);
  second.write(" whole");
  await until(() => text() === "half whole");
});

test("a timeout of zero is none", async (t) => {
  const patient = await stage(t, [() => lineFilter()], { listenerFiltersTimeoutMs: 0 });
  const [slow, impatient] = [
    await patient.connect(),
    await stage(t, [() => lineFilter()], { listenerFiltersTimeoutMs: 30 }),
  ];
  slow.write("half");
  await until(() => patient.stat("downstream_pre_cx_active") === 1);
  // One that came later and has a time is gone; the other waits on.
  const other = await impatient.connect();
  other.write("half");
  await once(other.resume(), "close");
  assert.deepEqual([patient.stat("downstream_pre_cx_timeout"), patient.stat("downstream_pre_cx_active")], [0, 1]);
  slow.write(" whole\n");
  await until(() => patient.passed.length === 1);
});

const ports = (start: number, end: number): ListenerFilterPredicate => ({ kind: "destination_port", start, end });
/** Whether a filter is left out for port 80, and for port 443. */
const PREDICATES: readonly (readonly [ListenerFilterPredicate, boolean, boolean])[] = [
  [{ kind: "any" }, true, true],
  [ports(80, 81), true, false],
  [ports(81, 443), false, false],
  [ports(80, 444), true, true],
  [{ kind: "not", rule: ports(80, 81) }, false, true],
  [{ kind: "or", rules: [ports(80, 81), ports(443, 444)] }, true, true],
  [{ kind: "and", rules: [ports(1, 1000), ports(400, 500)] }, false, true],
  [
    {
      kind: "and",
      rules: [{ kind: "any" }, { kind: "not", rule: { kind: "or", rules: [ports(443, 444), ports(1, 2)] } }],
    },
    true,
    false,
  ],
  [{ kind: "not", rule: { kind: "not", rule: { kind: "any" } } }, true, true],
];

test("filter_disabled: all kinds of predicates", () => {
  for (const [disabled, on80, on443] of PREDICATES) {
    const filter = { name: "http", disabled, filter: { kind: "http_inspector" } } as const;
    const [made] = listenerFilters(config(ip("127.0.0.1"), { listenerFilters: [filter] }), new StatsStore(() => {}));
    const off = (localPort: number): boolean => made!.disabled!({ localPort } as SocketFacts);
    assert.deepEqual([off(80), off(443)], [on80, on443], JSON.stringify(disabled));
  }
});

test("peers that leave or reset while filters wait are counted and forgotten", async (t) => {
  const { connect: open, passed, stat } = await stage(t, [() => lineFilter()]);
  const leaving = await open();
  leaving.end("half");
  await once(leaving.resume(), "close");
  assert.equal(stat("downstream_listener_filter_remote_close"), 1);
  const resetting = await open();
  resetting.write("half");
  await until(() => stat("downstream_pre_cx_active") === 1);
  resetting.resetAndDestroy();
  await until(() => stat("downstream_pre_cx_active") === 0);
  assert.equal(stat("downstream_listener_filter_error") + stat("downstream_listener_filter_remote_close"), 2);
  assert.equal(passed.length, 0);
});

test("a filter can be disabled by destination port, restored ones included", async (t) => {
  const off = ({ localPort }: SocketFacts): boolean => localPort === 3306;
  const { connect: open, passed } = await stage(t, [() => port, () => lineFilter()], {}, off);
  await open();
  await until(() => passed.length === 1);
  assert.equal(passed[0]!.facts.serverName, "");
});

test("closing the pipeline ends what waits", async (t) => {
  const { connect: open, pipeline, stat } = await stage(t, [() => lineFilter()]);
  const socket = await open();
  await until(() => stat("downstream_pre_cx_active") === 1);
  pipeline.close();
  await once(socket.resume(), "close");
  assert.equal(stat("downstream_pre_cx_active"), 0);
});
