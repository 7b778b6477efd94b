/** `sluice dev`: saves become served versions, mistakes and refusals leave the version before, and answers are compared. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, it, test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { devConfig } from "../../runtime/cli/dev-config.ts";
import { differenceOf, parseRecorded } from "../../runtime/cli/dev-replay.ts";
import { addLogLine, screenLines } from "../../runtime/cli/dev-screen.ts";
import type { DevState } from "../../runtime/cli/dev-screen.ts";
import { excerptLines, excerptOf } from "../../runtime/cli/source-excerpt.ts";
import { DevProcess } from "./dev-process.ts";

describe("sluice dev", () => {
  let author: DevProcess;
  const edit = (from: string, to: string): number => author.edit(from, to);
  const printed = (pattern: RegExp, from?: number): Promise<RegExpExecArray> => author.printed(pattern, from);
  const header = async (name: string): Promise<string | null> =>
    (await fetch(`${author.origin}/hello`)).headers.get(name);

  before(async () => {
    author = await DevProcess.start("greeter", "http");
  });
  after(() => author.end());

  it("serves the filter", async () => {
    assert.equal(await header("x-greeter"), "hello");
  });

  it("serves a change after it is saved, and shows what it does to the last request", async () => {
    const mark = edit('"x-greeter"', '"x-changed"');
    const shown = await printed(
      /✓ live \d+ ms after the save[^]*one answer differs\n {2}GET \/hello\n([^]*?)x-greeter: hello\n/,
      mark,
    );
    assert.match(shown[0], /\+ x-changed: hello\n {4}- x-greeter: hello/);
    assert.equal(await header("x-changed"), "hello");
  });

  it("says what does not compile, and serves on", async () => {
    const mark = edit("const settings = ", "const settings: Starter? = ");
    await printed(
      /✗ it does not compile; the version before goes on serving\n.*greeter\.ts:(\d+):\d+: .*\n {2}\1 \| const settings: Starter\? = .*\n +\| +\^\n/,
      mark,
    );
    assert.equal(await header("x-changed"), "hello");
    await printed(/nothing has changed/, edit("const settings: Starter? = ", "const settings = "));
  });

  it("says what the proxy refuses, and serves on", async () => {
    const mark = edit("if (settings === null) return false;", "return false;");
    await printed(/✗ the proxy refuses it[^]*refused the configuration/, mark);
    assert.equal(await header("x-changed"), "hello");
  });

  it("ends with its proxy", async () => {
    assert.equal(await author.interrupt(), 0);
    const up = (): Promise<boolean> =>
      fetch(author.origin).then(
        () => true,
        () => false,
      );
    while (await up()) await sleep(10);
  });
});

test("sluice dev takes a save that came before the first version served", async (t) => {
  const author = await DevProcess.begin("early", "http");
  t.after(() => author.end());
  await author.compiled();
  author.edit('"x-early"', '"x-late"');
  const [, origin = ""] = await author.printed(/(http:\S+) +admin http:\S+\n✓ serving\n✓ live/);
  assert.equal((await fetch(origin)).headers.get("x-late"), "hello");
});

describe("its screen", () => {
  const state: DevState = {
    name: "greeter",
    origin: "http://127.0.0.1:10000",
    admin: "http://127.0.0.1:9901",
    version: 3,
    size: 20_480,
    news: { kind: "live", compileMs: 91.2, swapMs: 30.4, totalMs: 140.5 },
    replayed: 2,
    kept: 2,
    unit: "request",
    differences: [{ what: "GET /hello", lines: ["- status: 200", "+ status: 401"] }],
    log: Array.from({ length: 50 }, (_, n) => `line ${n}`),
  };

  it("fits, whatever the terminal's size", () => {
    for (const [width, height] of [
      [80, 24],
      [40, 10],
      [200, 60],
      [20, 5],
    ] as const) {
      for (const colored of [true, false]) {
        const lines = screenLines(state, width, height, colored);
        assert.ok(lines.length <= height, `${lines.length} lines of ${height}`);
        for (const line of lines.slice(1))
          assert.ok(stripVTControlCharacters(line).length <= Math.max(width, 40), line);
      }
    }
  });

  it("wraps what is wrong, so that the way to write it can be read", () => {
    const advice = "AssemblyScript has no `?.`. Write `const b = x.b; if (b !== null) …` and use `b`.";
    const why = `toll.ts:38:58: Expression expected.\n    ${advice}`;
    const lines = screenLines({ ...state, news: { kind: "refused", what: "it does not compile", why } }, 60, 24, false);
    const text = lines.map((line) => line.trim()).join(" ");
    assert.ok(
      text.includes(
        `✗ it does not compile; the version before goes on serving toll.ts:38:58: Expression expected. ${advice}`,
      ),
      text,
    );
    assert.ok(lines.every((line) => line.length <= 60));
  });

  it("says when nothing is sent again", () => {
    const last = (unit: string): string => screenLines({ ...state, unit }, 80, 24, false).at(-1)!;
    assert.match(last(""), /ctrl-c to end · nothing is sent again over TLS$/);
    assert.match(last("request"), /ctrl-c to end$/);
  });

  it("says what there is to do before the first request, and how many are kept", () => {
    const lines = (kept: number): string => {
      const shown = screenLines({ ...state, replayed: 0, differences: [], kept }, 60, 24, false);
      assert.ok(shown.every((line) => line.length <= 60));
      return shown.join(" ");
    };
    assert.match(lines(0), /no requests yet; those that come are sent again after each save, and/);
    assert.match(lines(1), /1 request kept, and sent again to each new version/);
    assert.match(lines(8), /8 requests kept/);
  });

  it("shows once what many answers have in common, and the foot whatever there is above", () => {
    const differences = Array.from({ length: 8 }, (_, n) => ({
      what: `GET /${n}`,
      lines: n < 6 ? ["- x-a: 1", "+ x-b: 1"] : [`- status: 20${n}`],
    }));
    const many = { ...state, replayed: 8, kept: 8, differences, log: [] };
    const text = screenLines(many, 80, 24, false).join("\n");
    assert.match(
      text,
      /8 answers differ\n {2}GET \/0, and 5 more in the same way\n {4}- x-a: 1\n {4}\+ x-b: 1\n {2}GET \/6\n/,
    );
    const short = screenLines(many, 80, 12, false);
    assert.equal(short.length, 12);
    assert.match(short.at(-3)!, /^ {2}…$/);
    assert.match(short.at(-1)!, /^save to compile/);
    const wrong = {
      kind: "refused",
      what: "the proxy refuses it",
      why: Array.from({ length: 40 }, String).join("\n"),
    } as const;
    assert.match(screenLines({ ...many, news: wrong }, 80, 12, false).at(-1)!, /^save to compile/);
  });

  it("shows the line of the source that is meant, and where in it, however long it is", () => {
    const at = (column: number, width: number): string[] =>
      excerptLines({ line: 7, column, text: `\t  const a = ${"b + ".repeat(40)}x?.y;` }, width);
    assert.deepEqual(at(4, 30), ["  7 | const a = b + b + b + b ", "    | ^"]);
    const [line = "", mark = ""] = at(174, 40);
    assert.ok(line.length <= 40 && mark.length <= 40);
    assert.equal(line[mark.indexOf("^")], "x");
    // Whatever a message names, nothing else is read.
    const folder = import.meta.dirname;
    assert.equal(excerptOf("a trap (cli/dev.test.ts:2:1)", folder)?.text, 'import assert from "node:assert/strict";');
    for (const other of ["(cli/../other.ts:1:1)", "(/etc/passwd.ts:1:1)", "(cli/dev.test.ts:99999:1)", "no place"])
      assert.equal(excerptOf(other, folder), undefined, other);
  });

  it("tells errors of the proxy in full, with the lines that belong to them", () => {
    const broken: DevState = { ...state, replayed: 0, differences: [], log: [] };
    addLogLine(
      broken,
      `error   plugin greeter (0.1.0): trap: unreachable in ${"a".repeat(20)}\n    at greeter.ts:38:26`,
    );
    const lines = screenLines(broken, 40, 24, false);
    assert.ok(lines.every((line) => line.length <= 40));
    assert.match(
      lines.join(" "),
      /error +plugin greeter \(0\.1\.0\): trap: unreachable in a{20} +at greeter\.ts:38:26/,
    );
  });

  it("shows version, addresses, times, differences and the newest log", () => {
    const text = screenLines(state, 80, 24, false).join("\n");
    for (const part of [
      "version 3, 20.0 KiB",
      "http://127.0.0.1:10000",
      "✓ live 141 ms after the save (compiled in 91, swapped in 30)",
      "one answer differs",
      "+ status: 401",
      "line 49",
    ])
      assert.ok(text.includes(part), part);
    assert.ok(!text.includes("line 10\n"));
  });
});

describe("its parts", () => {
  it("put the recorder in front of each chain, and an admin interface where there is none", () => {
    const manager = {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      http_filters: [{ name: "a" }],
    };
    const changed = JSON.parse(
      devConfig(
        JSON.stringify({
          static_resources: { listeners: [{ filter_chains: [{ filters: [{ typed_config: manager }] }] }] },
        }),
      ),
    ) as {
      admin: unknown;
      static_resources: {
        listeners: { filter_chains: { filters: { typed_config: { http_filters: { name: string }[] } }[] }[] }[];
      };
    };
    const filters = changed.static_resources.listeners[0]!.filter_chains[0]!.filters[0]!.typed_config.http_filters;
    assert.deepEqual(
      filters.map(({ name }) => name),
      ["sluice.dev.recorder", "a"],
    );
    assert.ok(changed.admin);
  });

  it("read nothing into lines that are not the recorder's", () => {
    for (const line of ["", "recorded", "recorded zz 00", "recorded 00 zz", "recorded 00 00", "recorded ffffffff 00"])
      assert.equal(parseRecorded(line), undefined);
  });

  it("compare answers without what changes by itself", () => {
    const answer = (status: number, body: string, headers: [string, string][]): Parameters<typeof differenceOf>[0] => ({
      status,
      body,
      headers: new Map(headers),
    });
    assert.deepEqual(differenceOf(answer(200, "a", [["x", "1"]]), answer(200, "a", [["x", "1"]])), []);
    assert.deepEqual(differenceOf(answer(200, "a", [["x", "1"]]), answer(500, "b", [["y", "2"]])), [
      "- status: 200", "+ status: 500", "- x: 1", "+ y: 2", '- body: "a"', '+ body: "b"',
    ]); // prettier-ignore
  });
});
