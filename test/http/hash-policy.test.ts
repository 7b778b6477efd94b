/** What the hash of a request is made of, and that requests of the same hash meet the same host: over real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { HttpHashPolicy } from "../../runtime/config/hash-policy-snapshot.ts";
import { HashPolicy } from "../../runtime/http/hash-policy.ts";
import type { StreamInfo } from "../../runtime/observe/stream-info.ts";
import { combine, hashText, xxHash64Text } from "../../runtime/upstream/hash64.ts";
import { freshStream } from "../observe/stream-sample.ts";
import {
  cluster,
  type Engine,
  Engine as Engines,
  type EngineOptions,
  exchange,
  fixedOrigin,
  forward,
  origin,
  route,
} from "./engine.ts";

/** The hash of texts, each with the one before as its seed. */
function xx(...texts: string[]): string {
  const into = { hi: 0, lo: 0 };
  for (const text of texts) xxHash64Text(text, into, into);
  return hashText(into);
}

/** Two hashes, as policies that follow each other combine them. */
function both(first: string, second: string): string {
  const a = { hi: 0, lo: 0 };
  const b = { hi: 0, lo: 0 };
  const zero = { hi: 0, lo: 0 };
  xxHash64Text(first, zero, a);
  xxHash64Text(second, zero, b);
  combine(a, b);
  return hashText(a);
}

type Policy = HttpHashPolicy extends infer Some
  ? Some extends unknown
    ? Omit<Some, "terminal"> & { terminal?: boolean }
    : never
  : never;

function hashOf(
  policies: readonly Policy[],
  headers: readonly string[],
  change: (info: StreamInfo) => void,
): { hash: string; cookies: string[] } {
  const policy = new HashPolicy(policies.map((one) => ({ terminal: false, ...one })));
  const info = freshStream();
  change(info);
  const cookies: string[] = [];
  const into = { hi: 9, lo: 9 };
  const found = policy.hash({ headers: new HeaderMap([":path", "/", ...headers]), info, cookies }, into);
  return { hash: found ? hashText(into) : "none", cookies };
}

test("what the hash is made of", () => {
  const header = { kind: "header", name: "x-user", rewrite: undefined } as const;
  const rewrite = { regex: "^([a-z]+)-.*$", substitution: "\\1" };
  const cookie = { kind: "cookie", name: "id", generate: undefined } as const;
  const query = { kind: "query_parameter", name: "q" } as const;
  const ip = { kind: "source_ip" } as const;
  const state = { kind: "filter_state", key: "who" } as const;
  const cases: readonly (readonly [string, readonly Policy[], readonly string[], string])[] = [
    ["nothing", [], [], "none"],
    ["a header", [header], ["x-user", "ann"], xx("ann")],
    ["a header that is not there", [header], ["x-other", "ann"], "none"],
    ["an empty header", [header], ["x-user", ""], xx("")],
    ["a header of bytes", [header], ["x-user", "\u00c3\u00a4"], xx("\u00c3\u00a4")],
    ["a header several times, in any order", [header], ["x-user", "b", "x-user", "a"], xx("a", "b")],
    ["a header rewritten", [{ ...header, rewrite }], ["x-user", "ann-17"], xx("ann")],
    ["a header that the expression does not match", [{ ...header, rewrite }], ["x-user", "17"], xx("17")],
    ["a cookie", [cookie], ["cookie", "a=1; id=me; b=2"], xx("me")],
    ["a cookie in quotes", [cookie], ["cookie", 'id="me"'], xx("me")],
    ["a cookie in the second field", [cookie], ["cookie", "a=1", "cookie", "id=me"], xx("me")],
    ["the first of two cookies", [cookie], ["cookie", "id=me; id=you"], xx("me")],
    ["a cookie of another name", [cookie], ["cookie", "xid=me; idx=me"], "none"],
    ["an empty cookie", [cookie], ["cookie", "id="], "none"],
    ["a query parameter", [query], [":path", "/"], "none"],
    ["the address of downstream", [ip], [], xx("203.0.113.77")],
    ["filter state", [state], [], xx("it")],
    ["filter state that is not there", [{ ...state, key: "else" }], [], "none"],
    ["two of them", [header, cookie], ["x-user", "ann", "cookie", "id=me"], both("ann", "me")],
    ["the same twice does not cancel out", [header, header], ["x-user", "ann"], both("ann", "ann")],
    ["those that have nothing count for nothing", [cookie, header, query], ["x-user", "ann"], xx("ann")],
    ["terminal ends it", [{ ...header, terminal: true }, cookie], ["x-user", "ann", "cookie", "id=me"], xx("ann")],
    ["terminal without a hash does not", [{ ...header, terminal: true }, cookie], ["cookie", "id=me"], xx("me")],
    ["a hash from before ends at terminal", [header, { ...query, terminal: true }, cookie], ["x-user", "ann", "cookie", "id=me"], xx("ann")],
  ]; // prettier-ignore
  for (const [name, policies, headers, wanted] of cases) {
    const { hash, cookies } = hashOf(policies, headers, (info) => {
      info.remoteIp = "203.0.113.77";
      info.filterState = new Map([["who", Buffer.from("it")]]);
    });
    assert.equal(hash, wanted, name);
    assert.deepEqual(cookies, [], name);
  }
  const queries = [
    ["/p?q=ann", xx("ann")],
    ["/p?a=1&q=ann&q=bob", xx("ann")],
    ["/p?q", xx("")],
    ["/p?qq=ann", "none"],
  ] as const;
  for (const [path, wanted] of queries) {
    const into = { hi: 0, lo: 0 };
    const policy = new HashPolicy([{ ...query, terminal: false }]);
    const found = policy.hash({ headers: new HeaderMap([":path", path]), info: freshStream(), cookies: [] }, into);
    assert.equal(found ? hashText(into) : "none", wanted, path);
  }
});

test("a cookie that is generated: its value is the connection's, its text is Envoy's", () => {
  const attributes = [
    { name: "SameSite", value: "Strict" },
    { name: "Secure", value: "" },
  ];
  const cases = [
    [{ ttlSeconds: 0, path: "", attributes: [] }, "; HttpOnly"],
    [{ ttlSeconds: 60, path: "/a", attributes: [] }, "; Max-Age=60; Path=/a; HttpOnly"],
    [{ ttlSeconds: 0, path: "/", attributes }, "; Path=/; SameSite=Strict; Secure; HttpOnly"],
  ] as const;
  const { connection } = freshStream();
  const value = xx(connection.remoteAddress + connection.localAddress);
  for (const [generate, rest] of cases) {
    const { hash, cookies } = hashOf([{ kind: "cookie", name: "id", generate }], [], () => {});
    assert.deepEqual(cookies, [`id="${value}"${rest}`]);
    assert.equal(hash, xx(value));
  }
});

async function engine(t: TestContext, options: EngineOptions): Promise<Engine> {
  const made = await Engines.start(options);
  t.after(() => made.close());
  return made;
}

const hashing = {
  minimumRingSize: 1024,
  maximumRingSize: 8_388_608,
  function: "XX_HASH",
  tableSize: 65_537,
  useHostname: false,
} as const;

async function hosts(t: TestContext, count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let at = 0; at < count; at++) {
    const made = await fixedOrigin(`HTTP/1.1 200 OK\r\nx-host: ${at}\r\ncontent-length: 0\r\n\r\n`);
    t.after(() => made.close());
    ports.push(made.port);
  }
  return ports;
}

const get = (port: number, more = "", path = "/"): Promise<string> =>
  exchange(port, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${more}\r\n`);
const hostOf = (answer: string): string => /^x-host: (\d)/m.exec(answer)?.[1] ?? answer;

for (const lbPolicy of ["RING_HASH", "MAGLEV"] as const) {
  test(`${lbPolicy}: whoever is the same meets the same host, from connection to connection`, async (t) => {
    const hashPolicy: HttpHashPolicy[] = [
      { kind: "header", name: "x-user", rewrite: undefined, terminal: true },
      { kind: "cookie", name: "sluice", generate: { ttlSeconds: 9, path: "/", attributes: [] }, terminal: false },
    ];
    const ports = await hosts(t, 4);
    const { port } = await engine(t, {
      // The header that the route sets comes after the choice, as in Envoy.
      routes: [route("/", forward("c", { hashPolicy }), { requestHeaders: { add: [], remove: ["x-user"] } })],
      clusters: [cluster("c", ports, { lbPolicy, hashing })],
    });
    const met = new Set<string>();
    // Ports differ at each run, and so do shares: so many keys leave none of four hosts out.
    for (let user = 0; user < 120; user++) {
      const first = await get(port, `x-user: ${user}\r\n`);
      assert.ok(!first.includes("set-cookie"));
      assert.equal(hostOf(await get(port, `x-user: ${user}\r\n`)), hostOf(first));
      met.add(hostOf(first));
    }
    assert.equal(met.size, 4);
    for (let n = 0; n < 5; n++) {
      const first = await get(port);
      const cookie = /^set-cookie: (sluice="[0-9a-f]{16}"); Max-Age=9; Path=\/; HttpOnly\r$/m.exec(first)?.[1];
      assert.ok(cookie !== undefined, first);
      const again = await get(port, `cookie: ${cookie}\r\n`);
      assert.equal(hostOf(again), hostOf(first));
      assert.ok(!again.includes("set-cookie"));
    }
  });
}

test("other policies of clusters ask for no hash: no cookie is made", async (t) => {
  const hashPolicy: HttpHashPolicy[] = [
    { kind: "cookie", name: "sluice", generate: { ttlSeconds: 9, path: "/", attributes: [] }, terminal: false },
  ];
  const { port } = await engine(t, {
    routes: [route("/", forward("c", { hashPolicy }))],
    clusters: [cluster("c", await hosts(t, 2))],
  });
  assert.ok(!(await get(port)).includes("set-cookie"));
});

test("a retry keeps the hash, and the cookie is given once", async (t) => {
  const hashPolicy: HttpHashPolicy[] = [
    { kind: "cookie", name: "sluice", generate: { ttlSeconds: 0, path: "", attributes: [] }, terminal: false },
  ];
  let asked = 0;
  const up = await origin((socket) => {
    socket.on("data", () => {
      socket.write(`HTTP/1.1 ${asked++ === 0 ? "503 No" : "200 OK"}\r\ncontent-length: 0\r\n\r\n`);
    });
  });
  t.after(() => up.close());
  const retryPolicy = {
    retryOn: ["5xx"],
    numRetries: 2,
    perTryTimeoutMs: 0,
    retriableStatusCodes: [],
    baseIntervalMs: 1,
    maxIntervalMs: 2,
  };
  const { port } = await engine(t, {
    routes: [route("/", forward("c", { hashPolicy, retryPolicy }))],
    clusters: [cluster("c", [up.port], { lbPolicy: "RING_HASH", hashing })],
  });
  const answer = await get(port);
  assert.equal(asked, 2);
  assert.equal(answer.match(/set-cookie/g)?.length, 1, answer);
});
