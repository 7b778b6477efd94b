/** Connections of a listener that another one replaces: whoever has asked, or is about to, is answered. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { test } from "node:test";
import { load } from "../bench/wrk.ts";
import { chain } from "../listener/fixture.ts";
import { Downstream, Engine, route } from "./engine.ts";

const ROUTES = [route("/", { kind: "direct_response", status: 200, body: "ok" } as const)];
const GET = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

for (const codecType of ["HTTP1", "AUTO"] as const) {
  test(`HTTP/1 with the codec ${codecType}: each connection gets one more answer, and is told that it is the last`, async (t) => {
    const engine = await Engine.start({ routes: ROUTES, manager: { codecType } });
    t.after(() => engine.close());
    const used = await Downstream.open(engine.port);
    const silent = await Downstream.open(engine.port);
    const half = await Downstream.open(engine.port);
    used.send(GET);
    await used.until((text) => text.endsWith("ok"));
    half.send(GET.slice(0, 10));
    while (engine.counter("http.test.downstream_cx_total") < 3) await new Promise((resolve) => setTimeout(resolve, 2));
    await engine.replaceListener({ perConnectionBufferLimitBytes: 4096 });
    half.send(GET.slice(10));
    silent.send(GET);
    used.send(GET);
    for (const downstream of [used, silent, half]) {
      const text = await downstream.end();
      assert.match(text, /connection: close\r\n[^]*ok$/);
      downstream.close();
    }
    const fresh = await Downstream.open(engine.port);
    fresh.send(GET);
    assert.doesNotMatch(await fresh.until((text) => text.endsWith("ok")), /connection: close/);
    fresh.close();
  });
}

test("HTTP/2: streams under way finish, and the connection says goodbye", async (t) => {
  const engine = await Engine.start({ routes: ROUTES, manager: { codecType: "AUTO" } });
  t.after(() => engine.close());
  const session = connectHttp2(`http://127.0.0.1:${engine.port}`);
  await once(session, "connect");
  const ask = async (): Promise<unknown> => {
    const stream = session.request({ ":path": "/" });
    const [headers] = (await once(stream.resume(), "response")) as [Record<string, unknown>];
    await once(stream, "close");
    return headers[":status"];
  };
  assert.equal(await ask(), 200);
  const goodbye = once(session, "goaway");
  const closed = once(session, "close");
  await engine.replaceListener({ perConnectionBufferLimitBytes: 4096 });
  assert.equal(await ask(), 200);
  const [code] = (await goodbye) as [number];
  assert.equal(code, 0);
  await closed;
});

test("gradually: the share of answers that ask to leave grows with the drain time", async (t) => {
  const engine = await Engine.start({ routes: ROUTES });
  t.after(() => engine.close());
  const all = await Promise.all(Array.from({ length: 40 }, () => Downstream.open(engine.port)));
  const ask = async (downstream: Downstream): Promise<boolean> => {
    downstream.received = "";
    downstream.send(GET);
    const text = await downstream.until((answer) => answer.endsWith("ok"));
    return text.includes("connection: close");
  };
  for (const downstream of all) assert.equal(await ask(downstream), false);
  // So long that the chance is next to nothing, then so short that it is all.
  await engine.replaceListener({ perConnectionBufferLimitBytes: 4096 }, 1e20);
  for (const downstream of all) assert.equal(await ask(downstream), false);
  const fresh = await Downstream.open(engine.port);
  assert.equal(await ask(fresh), false);
  await engine.replaceListener({ perConnectionBufferLimitBytes: 4097 }, 1);
  await new Promise((resolve) => setTimeout(resolve, 2));
  assert.equal(await ask(fresh), true);
  for (const downstream of [...all, fresh]) downstream.close();
});

for (const codecType of ["HTTP1", "AUTO"] as const) {
  test(`routes and filters alone, with the codec ${codecType}: connections live on, and new streams have the new ones`, async (t) => {
    const engine = await Engine.start({ routes: ROUTES, manager: { codecType } });
    t.after(() => engine.close());
    const [used, silent] = [await Downstream.open(engine.port), await Downstream.open(engine.port)];
    const ask = async (downstream: Downstream, says: string): Promise<void> => {
      downstream.received = "";
      downstream.send(GET);
      const text = await downstream.until((answer) => answer.endsWith(says));
      assert.doesNotMatch(text, /connection: close/);
    };
    await ask(used, "ok");
    for (const body of ["second", "third"]) {
      await engine.replaceManager({ routes: [route("/", { kind: "direct_response", status: 200, body })] });
      await ask(used, body);
    }
    await ask(silent, "third");
    const gone = "listener_manager.total_filter_chains_draining";
    assert.equal(engine.stats.gauge(gone, "max").value, 0);
    // What is of the connection is another chain.
    await engine.replaceManager({ manager: { codecType, idleTimeoutMs: 12_345 } });
    used.send(GET);
    assert.match(await used.end(), /connection: close/);
    used.close();
    silent.close();
  });
}

test("HTTP/2: routes change on the connection that is there", async (t) => {
  const engine = await Engine.start({ routes: ROUTES, manager: { codecType: "AUTO" } });
  t.after(() => engine.close());
  const session = connectHttp2(`http://127.0.0.1:${engine.port}`);
  await once(session, "connect");
  const ask = async (): Promise<string> => {
    const stream = session.request({ ":path": "/" });
    return (await stream.setEncoding("utf8").toArray()).join("");
  };
  assert.equal(await ask(), "ok");
  await engine.replaceManager({ routes: [route("/", { kind: "direct_response", status: 200, body: "new" })] });
  assert.equal(await ask(), "new");
  session.close();
});

test("under wrk: listeners are replaced and updated in place, and no request fails", async (t) => {
  const engine = await Engine.start({ routes: ROUTES });
  t.after(() => engine.close());
  let updates = 0;
  let requests = 0;
  // The load goes on until there were updates enough, however slow the machine is.
  while (requests <= updates || updates <= 5) {
    let running = true;
    const wrk = load(`http://127.0.0.1:${engine.port}/`, 1, ["--timeout", "60s"]).finally(() => (running = false));
    while (running) {
      const more =
        updates++ % 2 === 0
          ? { perConnectionBufferLimitBytes: 4096 + updates }
          : { filterChains: [chain(`version ${updates}`)] };
      await engine.replaceListener(more);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    const done = await wrk;
    assert.equal(done.errors, 0);
    requests += done.requests;
  }
  t.diagnostic(`${requests} requests, ${updates} updates`);
});
