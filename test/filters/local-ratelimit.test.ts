/** The local rate limit filter over real sockets, field by field. */
import assert from "node:assert/strict";
import { Agent, createServer, request } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import * as Metric from "../../abi/metric.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import type { PluginConfig } from "../../runtime/config/snapshot.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { cluster, forward, route } from "../http/engine.ts";
import { encode, type FilterEngine, perFilter, startFilters } from "./filter-engine.ts";

const PROTO = "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto";
const TYPE = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
const ALWAYS = { default_value: { numerator: 100 } };
const ON = { stat_prefix: "test", filter_enabled: ALWAYS, filter_enforced: ALWAYS };
const bucket = (tokens: number, seconds = 3600): object => ({
  max_tokens: tokens,
  fill_interval: { seconds },
});

type Fields = Record<string, unknown>;

let origin: Server;
let seen: IncomingMessage | undefined;
before(async () => {
  origin = createServer((incoming, response) => {
    seen = incoming;
    response.end("hello");
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
});
after(() => {
  origin.closeAllConnections();
  origin.close();
});

interface Setting {
  readonly perRoute?: Fields;
  readonly runtime?: Record<string, number>;
  readonly shared?: SharedStore;
  /** Of the route's rate limits: request headers as descriptor entries, one descriptor each. */
  readonly headers?: readonly string[];
  readonly more?: Partial<PluginConfig>;
}

function serialize(fields: Fields): Uint8Array {
  return encode(PROTO, TYPE, fields);
}

async function start(fields: Fields, setting: Setting = {}): Promise<FilterEngine> {
  const { port } = origin.address() as AddressInfo;
  const rateLimits = (setting.headers ?? []).map((name) => ({
    stage: 0,
    disableKey: "",
    actions: [{ kind: "request_headers" as const, header: name, key: name, skipIfAbsent: false }],
  }));
  const forwarding = forward("origin", { rateLimits });
  const override = setting.perRoute === undefined ? {} : perFilter("local_ratelimit", 5, serialize(setting.perRoute));
  return startFilters([{ filter: "local_ratelimit", configuration: serialize(fields), more: setting.more ?? {} }], {
    routes: [route("/override", forwarding, override), route("/", forwarding)],
    clusters: [cluster("origin", [port])],
    ...(setting.runtime === undefined ? {} : { runtime: setting.runtime }),
    ...(setting.shared === undefined ? {} : { shared: setting.shared }),
  });
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingMessage["headers"];
}

async function ask(
  proxy: FilterEngine,
  path = "/",
  headers: Record<string, string> = {},
  agent?: Agent,
): Promise<Answer> {
  const outgoing = request({ host: "127.0.0.1", port: proxy.engine.port, path, headers, agent: agent ?? false });
  outgoing.end();
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode!, body, headers: response.headers };
}

async function statuses(
  proxy: FilterEngine,
  count: number,
  path = "/",
  headers: Record<string, string> = {},
): Promise<number[]> {
  const list: number[] = [];
  for (let i = 0; i < count; i++) list.push((await ask(proxy, path, headers)).status);
  return list;
}

function counters(proxy: FilterEngine, prefix = "test"): number[] {
  return ["enabled", "ok", "rate_limited", "enforced"].map((name) =>
    proxy.metric(Metric.COUNTER, `${prefix}.http_local_rate_limit.${name}`),
  );
}

/** Runs a test body with an engine and closes it. */
async function using(fields: Fields, setting: Setting, body: (proxy: FilterEngine) => Promise<void>): Promise<void> {
  const proxy = await start(fields, setting);
  try {
    await body(proxy);
  } finally {
    proxy.close();
  }
}

describe("the bucket", () => {
  it("lets max_tokens pass, then answers 429 with body, details, flag and counters", () =>
    using({ ...ON, token_bucket: bucket(2) }, {}, async (proxy) => {
      assert.deepEqual(await statuses(proxy, 2), [200, 200]);
      const refused = await ask(proxy);
      assert.equal(refused.status, 429);
      assert.equal(refused.body, "local_rate_limited");
      assert.equal(refused.headers["x-ratelimit-limit"], undefined);
      const info = proxy.engine.finished.at(-1);
      assert.equal(info?.responseCodeDetails, "local_rate_limited");
      assert.equal(info?.hasFlag(ResponseFlag.RL), true);
      assert.deepEqual(counters(proxy), [3, 2, 1, 1]);
    }));

  it("fills again", () =>
    using({ ...ON, token_bucket: { max_tokens: 1, fill_interval: { nanos: 50_000_000 } } }, {}, async (proxy) => {
      assert.deepEqual(await statuses(proxy, 1), [200]);
      for (let status = 0; status !== 200;) [status] = (await statuses(proxy, 1)) as [number];
    }));

  it("is one for all workers of the process", async () => {
    const shared = SharedStore.create();
    const fields = { ...ON, token_bucket: bucket(3) };
    await using(fields, { shared }, async (first) => {
      await using(fields, { shared }, async (second) => {
        assert.deepEqual(await statuses(first, 2), [200, 200]);
        assert.deepEqual(await statuses(second, 2), [200, 429]);
      });
    });
  });

  it("is one per connection when asked for", () =>
    using({ ...ON, token_bucket: bucket(1), local_rate_limit_per_downstream_connection: true }, {}, async (proxy) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      assert.equal((await ask(proxy, "/", {}, agent)).status, 200);
      assert.equal((await ask(proxy, "/", {}, agent)).status, 429);
      assert.equal((await ask(proxy)).status, 200);
      agent.destroy();
    }));
});

describe("enabled and enforced", () => {
  it("never when unset", () =>
    using({ stat_prefix: "test", token_bucket: bucket(1) }, {}, async (proxy) => {
      assert.deepEqual(await statuses(proxy, 3), [200, 200, 200]);
      assert.deepEqual(counters(proxy), [0, 0, 0, 0]);
    }));

  it("counts but lets pass when it is not enforced, and marks the request", () =>
    using(
      {
        stat_prefix: "test",
        filter_enabled: ALWAYS,
        token_bucket: bucket(1),
        request_headers_to_add_when_not_enforced: [
          { header: { key: "X-Over", value: "100%%" } },
          { header: { key: "x-here", value: "2" }, append_action: "APPEND_IF_EXISTS_OR_ADD" },
          { header: { key: "x-set", value: "2" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
          { header: { key: "x-kept", value: "2" }, append_action: "ADD_IF_ABSENT" },
          { header: { key: "x-new", value: "2" }, append_action: "ADD_IF_ABSENT" },
          { header: { key: "x-old", value: "2" }, append_action: "OVERWRITE_IF_EXISTS" },
          { header: { key: "x-none", value: "2" }, append_action: "OVERWRITE_IF_EXISTS" },
          { header: { key: "x-bool", value: "2" }, append: { value: false } },
          { header: { key: "x-raw", raw_value: Buffer.from("raw").toString("base64") } },
        ],
      },
      {},
      async (proxy) => {
        const sent = Object.fromEntries(["here", "set", "kept", "old", "bool"].map((name) => [`x-${name}`, "1"]));
        await ask(proxy, "/", sent);
        assert.equal(seen!.headers["x-over"], undefined);
        assert.equal((await ask(proxy, "/", sent)).status, 200);
        const added = Object.entries(seen!.headers).filter(([name]) => /^x-(?!forwarded|request|envoy)/.test(name));
        assert.deepEqual(Object.fromEntries(added), {
          "x-over": "100%",
          "x-here": "1, 2",
          "x-set": "2",
          "x-kept": "1",
          "x-new": "2",
          "x-old": "2",
          "x-bool": "2",
          "x-raw": "raw",
        });
        assert.deepEqual(counters(proxy), [2, 1, 1, 0]);
      },
    ));

  it("follows runtime keys", () =>
    using(
      {
        stat_prefix: "test",
        filter_enabled: { runtime_key: "on" },
        filter_enforced: { default_value: { numerator: 100 }, runtime_key: "hard" },
        token_bucket: bucket(1),
      },
      { runtime: { on: 100, hard: 0 } },
      async (proxy) => {
        assert.deepEqual(await statuses(proxy, 2), [200, 200]);
        assert.deepEqual(counters(proxy), [2, 1, 1, 0]);
      },
    ));
});

describe("the answer", () => {
  it("takes status and headers from the configuration", () =>
    using(
      {
        ...ON,
        status: { code: 503 },
        token_bucket: bucket(1),
        response_headers_to_add: [
          { header: { key: "x-limited", value: "yes" } },
          { header: { key: "x-limited", value: "again" } },
          { header: { key: "x-none", value: "no" }, append_action: "OVERWRITE_IF_EXISTS" },
          { header: { key: "x-empty", value: "" } },
        ],
      },
      {},
      async (proxy) => {
        await ask(proxy);
        const refused = await ask(proxy);
        assert.equal(refused.status, 503);
        assert.equal(refused.headers["x-limited"], "yes, again");
        assert.equal("x-none" in refused.headers, false);
        assert.equal("x-empty" in refused.headers, false);
      },
    ));

  it("is 429 for a status below 400", () =>
    using({ ...ON, status: { code: 200 }, token_bucket: bucket(1) }, {}, async (proxy) => {
      assert.deepEqual(await statuses(proxy, 2), [200, 429]);
    }));

  it("tells limit, remaining tokens and seconds, allowed or not", () =>
    using({ ...ON, token_bucket: bucket(2), enable_x_ratelimit_headers: "DRAFT_VERSION_03" }, {}, async (proxy) => {
      const told: unknown[] = [];
      for (let i = 0; i < 3; i++) {
        const { headers } = await ask(proxy);
        told.push([headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]]);
        assert.ok(Number(headers["x-ratelimit-reset"]) > 3500 && Number(headers["x-ratelimit-reset"]) <= 3600);
      }
      assert.deepEqual(told, [
        ["2", "1"],
        ["2", "0"],
        ["2", "0"],
      ]);
    }));

  for (const [exhausted, status] of [
    [false, "14"],
    [true, "8"],
  ] as const) {
    it(`is gRPC status ${status} for gRPC, rate_limited_as_resource_exhausted ${exhausted}`, () =>
      using({ ...ON, token_bucket: bucket(1), rate_limited_as_resource_exhausted: exhausted }, {}, async (proxy) => {
        await ask(proxy);
        const refused = await ask(proxy, "/", { "content-type": "application/grpc" });
        assert.equal(refused.status, 200);
        assert.equal(refused.headers["grpc-status"], status);
      }));
  }
});

describe("per route", () => {
  it("replaces the filter's configuration, with a bucket and counters of its own", () =>
    using(
      { ...ON, token_bucket: bucket(1) },
      { perRoute: { ...ON, stat_prefix: "special", token_bucket: bucket(2) } },
      async (proxy) => {
        assert.deepEqual(await statuses(proxy, 3, "/override"), [200, 200, 429]);
        assert.deepEqual(await statuses(proxy, 2, "/"), [200, 429]);
        assert.deepEqual(counters(proxy, "special"), [3, 2, 1, 1]);
        assert.deepEqual(counters(proxy), [2, 1, 1, 1]);
      },
    ));
});

describe("fields that are not supported", () => {
  it("local_cluster_rate_limit refuses the configuration", async () => {
    const fields = { ...ON, token_bucket: bucket(1), local_cluster_rate_limit: {} };
    await assert.rejects(start(fields), /envoy\.filters\.http\.local_ratelimit/);
  });
});

describe("descriptors", () => {
  const rule = (key: string, value: string, tokens: number, more: object = {}): object => ({
    entries: [{ key, value }],
    token_bucket: bucket(tokens),
    ...more,
  });

  it("have buckets of their own besides the default one", () =>
    using(
      { ...ON, token_bucket: bucket(4), descriptors: [rule("x-user", "amy", 1), rule("x-user", "bob", 2)] },
      { headers: ["x-user"] },
      async (proxy) => {
        assert.deepEqual(await statuses(proxy, 2, "/", { "x-user": "amy" }), [200, 429]);
        assert.deepEqual(await statuses(proxy, 2, "/", { "x-user": "bob" }), [200, 200]);
        assert.deepEqual(await statuses(proxy, 2, "/"), [200, 429]);
      },
    ));

  it("alone decide when the default bucket is not always consumed", () =>
    using(
      {
        ...ON,
        token_bucket: bucket(1),
        always_consume_default_token_bucket: { value: false },
        descriptors: [rule("x-user", "amy", 3)],
      },
      { headers: ["x-user"] },
      async (proxy) => {
        assert.deepEqual(await statuses(proxy, 4, "/", { "x-user": "amy" }), [200, 200, 200, 429]);
        assert.deepEqual(await statuses(proxy, 2, "/"), [200, 429]);
      },
    ));

  it("give each value of a wildcard its own bucket", () =>
    using(
      { ...ON, token_bucket: bucket(100), descriptors: [rule("x-user", "", 1)] },
      { headers: ["x-user"] },
      async (proxy) => {
        assert.deepEqual(await statuses(proxy, 2, "/", { "x-user": "amy" }), [200, 429]);
        assert.deepEqual(await statuses(proxy, 2, "/", { "x-user": "bob" }), [200, 429]);
      },
    ));

  it("come from the filter's own rate_limits instead of the route's", () => {
    const rateLimits = [
      { stage: 0, disableKey: "", actions: [{ kind: "generic_key", key: "x-own", value: "it" }] },
    ] as const;
    const action = { generic_key: { descriptor_key: "x-own", descriptor_value: "it" } };
    const fields = {
      ...ON,
      token_bucket: bucket(100),
      rate_limits: [{ actions: [action] }],
      descriptors: [rule("x-own", "it", 2), rule("x-user", "amy", 1)],
    };
    return using(fields, { headers: ["x-user"], more: { rateLimits } }, async (proxy) => {
      assert.deepEqual(await statuses(proxy, 3, "/", { "x-user": "amy" }), [200, 200, 429]);
    });
  });

  it("only count in shadow mode", () =>
    using(
      { ...ON, token_bucket: bucket(100), descriptors: [rule("x-user", "amy", 1, { shadow_mode: true })] },
      { headers: ["x-user"] },
      async (proxy) => {
        assert.deepEqual(await statuses(proxy, 2, "/", { "x-user": "amy" }), [200, 200]);
        assert.deepEqual(counters(proxy), [2, 1, 1, 0]);
      },
    ));

  it("decide the x-ratelimit headers: the scarcest first", () =>
    using(
      {
        ...ON,
        token_bucket: bucket(50),
        enable_x_ratelimit_headers: "DRAFT_VERSION_03",
        descriptors: [
          rule("x-user", "amy", 20),
          { entries: [{ key: "x-org", value: "it" }], token_bucket: bucket(9, 7200) },
        ],
      },
      { headers: ["x-user", "x-org"] },
      async (proxy) => {
        const { headers } = await ask(proxy, "/", { "x-user": "amy", "x-org": "it" });
        assert.equal(headers["x-ratelimit-limit"], "9");
        assert.equal(headers["x-ratelimit-remaining"], "8");
      },
    ));
});
