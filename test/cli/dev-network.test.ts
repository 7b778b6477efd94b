/** `sluice dev` with a network filter: connections that have ended are opened again to each new version. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import type { TestContext } from "node:test";
import { ConnectionReplays, echoDifference } from "../../runtime/cli/dev-connections.ts";
import { devConfig } from "../../runtime/cli/dev-config.ts";
import { MAX_REPLAYED_REQUESTS, REPLAY_ANSWER_MS, REPLAY_QUIET_MS } from "../../runtime/limits.ts";
import { DevProcess } from "./dev-process.ts";

/** Sends a text and leaves once as many bytes have come back as are expected, or the connection is closed. */
async function talk(address: string, text: string, expected: number): Promise<string> {
  const [host = "", port = ""] = address.split(":");
  const socket = connect({ host, port: Number(port) });
  let answer = "";
  const over = new Promise<void>((resolve) => {
    socket.on("data", (data: Buffer) => {
      answer += data.toString();
      if (answer.length >= expected) resolve();
    });
    socket.on("close", () => resolve());
  });
  socket.write(text);
  await over;
  socket.destroy();
  return answer;
}

describe("sluice dev with a network filter", () => {
  let author: DevProcess;
  before(async () => {
    author = await DevProcess.start("doorkeeper", "network");
  });
  after(() => author.end());

  it("serves the filter in front of tcp_proxy", async () => {
    assert.match(author.origin, /^127\.0\.0\.1:\d+$/);
    assert.equal(await talk(author.origin, "hello there\n", 12), "hello there\n");
    assert.equal(await talk(author.origin, "goodbye\n", 8), "");
    await author.idle();
  });

  it("shows what a change does to the last connections", async () => {
    const mark = author.edit("this.admitted = true;", 'downstreamData.prepend("well, ");\n    this.admitted = true;');
    const shown = await author.printed(
      /✓ live \d+ ms after the save[^\n]*\nsent 2 connections again: one answer differs\n[^]*?\+ [^\n]*\n/,
      mark,
    );
    assert.match(
      shown[0],
      / {2}a connection that sends "hello there\\n"\n {4}- gets: "hello there\\n"\n {4}\+ gets: "well, hello there\\n"\n$/,
    );
    assert.equal(await talk(author.origin, "hello there\n", 18), "well, hello there\n");
  });

  it("says what does not compile, and serves on", async () => {
    const mark = author.edit("return CONTINUE;", "return CONTINUED;");
    await author.printed(/✗ it does not compile[^\n]*\n[^\n]*doorkeeper\.ts:\d+:\d+: /, mark);
    assert.equal(await talk(author.origin, "hello there\n", 18), "well, hello there\n");
  });
});

describe("connections that are opened again", () => {
  /** A server that tells its name first, and answers each line. */
  async function server(t: TestContext, answer: (line: string) => string): Promise<string> {
    const sockets = new Set<Socket>();
    const listening = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.write("ready\n");
      socket.on("data", (data: Buffer) => {
        const text = answer(data.toString());
        if (text === "") socket.end();
        else socket.write(text);
      });
    }).listen(0, "127.0.0.1");
    await once(listening, "listening");
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      listening.close();
    });
    return `127.0.0.1:${(listening.address() as AddressInfo).port}`;
  }
  const told = (...events: string[]): ConnectionReplays => {
    const replays = new ConnectionReplays();
    for (const event of events) replays.take(`connection 192.0.2.1:9 ${event}`);
    return replays;
  };
  const hex = (text: string): string => Buffer.from(text).toString("hex");

  it("take their turns as the first time", async (t) => {
    const lines: string[] = [];
    const peer = await server(t, (line) => {
      lines.push(line);
      return `${line.trim()}!\n`;
    });
    const replays = told("opens", "gets 6", `sends ${hex("on")}`, `sends ${hex("e\n")}`, "gets 5", `sends ${hex("two\n")}`, "gets 5", "closes"); // prettier-ignore
    await replays.prime(peer);
    assert.deepEqual(lines, ["one\n", "two\n"], "not in one piece");
    assert.deepEqual(await replays.compare(peer), []);
    const other = await server(t, (line) => (line === "two\n" ? "" : `${line.trim()}?\n`));
    assert.deepEqual(await replays.compare(other), [
      {
        what: 'a connection that sends "one\\ntwo\\n"',
        lines: ['- gets: "ready\\none!\\ntwo!\\n"', '+ gets: "ready\\none?\\n"', "- stays open", "+ is closed"],
      },
    ]);
  });

  it("are waited for to their end when the proxy had ended them", async (t) => {
    const sent = Promise.withResolvers<Socket>();
    const listening = createServer((socket) => void socket.once("data", () => sent.resolve(socket))).listen(
      0,
      "127.0.0.1",
    );
    await once(listening, "listening");
    t.after(() => listening.close());
    const { port } = listening.address() as AddressInfo;
    const replays = told("opens", `sends ${hex("bye\n")}`, "is-closed");
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let over = false;
    const primed = replays.prime(`127.0.0.1:${port}`).then(() => (over = true));
    const socket = await sent.promise;
    for (let ms = 0; ms < REPLAY_ANSWER_MS - REPLAY_QUIET_MS; ms += REPLAY_QUIET_MS) {
      await new Promise((resolve) => setImmediate(resolve));
      t.mock.timers.tick(REPLAY_QUIET_MS);
    }
    assert.equal(over, false);
    socket.end();
    await primed;
  });

  it("show the place of a difference in many bytes, and bytes that are no text", () => {
    const echo = (bytes: Buffer): Parameters<typeof echoDifference>[0] => ({ bytes, closed: false });
    const [before, after] = [Buffer.alloc(100, "a"), Buffer.alloc(100, "a")];
    after[50] = 0;
    const [minus, plus] = echoDifference(echo(before), echo(after));
    assert.match(minus!, /^- gets from byte 34: "a{64}"…$/);
    assert.match(plus!, /^\+ gets from byte 34: (?:61 ){16}00 (?:61 )*61…$/);
    assert.deepEqual(echoDifference(echo(before), echo(Buffer.alloc(0))).at(-1), "+ gets: nothing");
  });

  it("are few, each once, and none that is too large, silent or still open", () => {
    assert.equal(told("opens", "closes").size, 0, "silent");
    assert.equal(told("opens", `sends ${hex("a")}`).size, 0, "open");
    assert.equal(told("opens", `sends ${hex("a")}`, "large", "closes").size, 0, "large");
    const twice = ["opens", `sends ${hex("a")}`, "closes"];
    assert.equal(told(...twice, ...twice).size, 1);
    const many = told(...Array.from({ length: 20 }, (_, n) => ["opens", `sends ${hex(`${n}`)}`, "closes"]).flat());
    assert.equal(many.size, MAX_REPLAYED_REQUESTS);
    for (const line of ["", "connection", "connection a sends zz", "connection a jumps"])
      assert.equal(new ConnectionReplays().take(line), false);
  });

  it("are told by a recorder in front of chains with a module, and only there", () => {
    const wasm = { "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm" };
    const echo = { "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" };
    const chain = (...configs: object[]): object => ({
      filter_chains: [{ filters: configs.map((typed_config, n) => ({ name: `${n}`, typed_config })) }],
    });
    const text = JSON.stringify({ static_resources: { listeners: [chain(wasm, echo), chain(echo)] } });
    const changed = JSON.parse(devConfig(text)) as {
      static_resources: { listeners: { filter_chains: { filters: { name: string }[] }[] }[] };
    };
    assert.deepEqual(
      changed.static_resources.listeners.map((one) => one.filter_chains[0]!.filters.map(({ name }) => name)),
      [["sluice.dev.recorder", "0", "1"], ["0"]],
    );
  });
});
