/** The rate limit filter over real sockets, field by field; the service is a real one whose answers are written here. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import * as Metric from "../../abi/metric.ts";
import type { PluginConfig, RateLimitConfig, RouteAction } from "../../runtime/config/snapshot.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { cluster, forward, route } from "../http/engine.ts";
import { encode, type FilterEngine, perFilter, startFilters } from "./filter-engine.ts";
import { type Asked, RateLimitPeer, type Reply } from "./ratelimit-peer.ts";

const PROTO = "envoy/extensions/filters/http/ratelimit/v3/rate_limit.proto";
const PACKAGE = "envoy.extensions.filters.http.ratelimit.v3";
/** No machine is so slow: where an answer is expected, its absence is a failure of the filter. */
const PATIENT = { seconds: 3600 };
const OVER = { overall_code: "OVER_LIMIT" };

type Fields = Record<string, unknown>;

interface Setting {
  readonly perRoute?: Fields;
  readonly overrideLimits?: readonly RateLimitConfig[];
  readonly runtime?: Record<string, number>;
  readonly routeLimits?: readonly RateLimitConfig[];
  readonly hostLimits?: readonly RateLimitConfig[];
  readonly more?: Partial<PluginConfig>;
  readonly action?: RouteAction;
  readonly bufferLimitBytes?: number;
  /** Requests from this machine are internal. */
  readonly internal?: boolean;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
}

let origin: Server;
let seen: IncomingHttpHeaders | undefined;
let peer: RateLimitPeer;

before(async () => {
  origin = createServer((incoming, response) => {
    seen = incoming.headers;
    let size = 0;
    incoming.on("data", (chunk: Buffer) => (size += chunk.length));
    incoming.on("end", () => response.writeHead(200, { "x-origin": "yes" }).end(`got ${size}`));
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
});
after(() => {
  origin.closeAllConnections();
  origin.close();
});
beforeEach(async () => {
  seen = undefined;
  peer = await RateLimitPeer.start();
});
afterEach(() => peer.stop());

const limit = (value: string, stage = 0): RateLimitConfig => ({
  stage,
  disableKey: "",
  actions: [{ kind: "generic_key", key: "generic_key", value }],
});

const USER: RateLimitConfig = {
  stage: 0,
  disableKey: "",
  actions: [
    { kind: "destination_cluster" },
    { kind: "request_headers", header: "x-user", key: "user", skipIfAbsent: false },
  ],
};

function configuration(fields: Fields): Uint8Array {
  return encode(PROTO, `${PACKAGE}.RateLimit`, {
    domain: "test",
    timeout: PATIENT,
    rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name: "limits" } }, transport_api_version: 2 },
    ...fields,
  });
}

/** Runs a test body with an engine, and finds no call open and no connection counted when it is over. */
async function using(fields: Fields, setting: Setting, body: (proxy: FilterEngine) => Promise<void>): Promise<void> {
  const stats = new StatsStore(() => {});
  const upstreams = new ClusterSet([cluster("limits", [peer.port], { protocol: "HTTP2" })], stats);
  await upstreams.start();
  const { port } = origin.address() as AddressInfo;
  const action = setting.action ?? forward("origin", { rateLimits: setting.routeLimits ?? [limit("route")] });
  const override =
    setting.perRoute === undefined
      ? {}
      : perFilter(
          "ratelimit",
          3,
          encode(PROTO, `${PACKAGE}.RateLimitPerRoute`, setting.perRoute),
          setting.overrideLimits,
        );
  const proxy = await startFilters(
    [
      {
        filter: "ratelimit",
        configuration: configuration(fields),
        more: { allowOnHeadersStopIteration: true, ...setting.more },
      },
    ],
    {
      routes: [route("/", action, override)],
      clusters: [cluster("origin", [port], { statName: "origin_stats" })],
      upstreams,
      ...(setting.internal === true ? { manager: { useRemoteAddress: true, internalCidrs: ["127.0.0.0/8"] } } : {}),
      virtualHost: { rateLimits: setting.hostLimits ?? [] },
      ...(setting.runtime === undefined ? {} : { runtime: setting.runtime }),
      ...(setting.bufferLimitBytes === undefined ? {} : { bufferLimitBytes: setting.bufferLimitBytes }),
    },
  );
  try {
    await body(proxy);
    assert.equal(stats.gauge("cluster.limits.upstream_rq_active").value, 0);
    assert.deepEqual(proxy.log.lines, []);
  } finally {
    proxy.close();
    upstreams.close();
  }
}

async function ask(proxy: FilterEngine, headers: Record<string, string> = {}, body?: string): Promise<Answer> {
  const method = body === undefined ? "GET" : "POST";
  const outgoing = request({ host: "127.0.0.1", port: proxy.engine.port, method, headers, agent: false });
  outgoing.end(body);
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode!, body: text, headers: response.headers };
}

function counters(proxy: FilterEngine, prefix = ""): number[] {
  return ["ok", "error", "over_limit", "failure_mode_allowed"].map((name) =>
    proxy.metric(Metric.COUNTER, `cluster.origin_stats.ratelimit.${prefix}${name}`),
  );
}

function limitHeaders({ headers }: Answer): unknown[] {
  return ["limit", "remaining", "reset"].map((name) => headers[`x-ratelimit-${name}`]);
}

describe("the call", () => {
  it("carries domain, descriptors and the service's metadata", () =>
    using(
      {
        rate_limit_service: {
          grpc_service: {
            envoy_grpc: { cluster_name: "limits" },
            initial_metadata: [{ key: "X-Token", value: "secret" }],
          },
        },
      },
      { routeLimits: [USER, limit("all")] },
      async (proxy) => {
        assert.equal((await ask(proxy, { "x-user": "amy" })).status, 200);
        const [asked] = peer.asked as [Asked];
        assert.equal(asked.domain, "test");
        assert.deepEqual(asked.descriptors, [["destination_cluster=origin", "user=amy"], ["generic_key=all"]]);
        assert.equal(asked.metadata["x-token"], "secret");
        assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
      },
    ));

  it("takes the default timeout of 20 ms, and none for 0", async () => {
    await using({ timeout: null }, {}, async (proxy) => {
      peer.reply = () => "late";
      assert.equal((await ask(proxy)).status, 200);
      assert.deepEqual(counters(proxy), [0, 1, 0, 1]);
    });
    await using({ timeout: {} }, {}, async (proxy) => {
      peer.reply = () => ({ overall_code: "OK" });
      assert.equal((await ask(proxy)).status, 200);
      assert.equal(peer.asked.at(-1)!.deadline, Infinity);
      assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
    });
  });

  const silent: readonly (readonly [string, Fields, Setting, Record<string, string>])[] = [
    ["no descriptor", {}, { routeLimits: [] }, {}],
    ["a descriptor whose header is missing", {}, { routeLimits: [USER] }, {}],
    ["only descriptors of another stage", { stage: 2 }, {}, {}],
    ["a direct response", {}, { action: { kind: "direct_response", status: 200, body: "here" } }, {}],
    ["request_type internal and an external request", { request_type: "internal" }, {}, {}],
    ["request_type external and an internal request", { request_type: "external" }, { internal: true }, {}],
    ["runtime ratelimit.http_filter_enabled 0", {}, { runtime: { "ratelimit.http_filter_enabled": 0 } }, {}],
    ["filter_enabled 0", { filter_enabled: { default_value: {} } }, {}, {}],
    [
      "filter_enabled with a runtime key of 0",
      { filter_enabled: { default_value: { numerator: 100 }, runtime_key: "on" } },
      { runtime: { on: 0, "ratelimit.http_filter_enabled": 100 } },
      {},
    ],
  ];
  for (const [why, fields, setting, headers] of silent) {
    it(`is not made for ${why}`, () =>
      using(fields, setting, async (proxy) => {
        peer.reply = () => OVER;
        assert.equal((await ask(proxy, headers)).status, 200);
        assert.equal(peer.asked.length, 0);
      }));
  }

  it("is not made for an unknown cluster, nor without a route", async () => {
    await using({}, { action: forward("nowhere", { rateLimits: [limit("x")] }) }, async (proxy) => {
      assert.equal((await ask(proxy)).status, 503);
      assert.equal(proxy.engine.finished.at(-1)!.hasFlag(ResponseFlag.NC), true);
    });
    assert.equal(peer.asked.length, 0);
  });

  const made: readonly (readonly [string, Fields, Setting])[] = [
    ["request_type internal and an internal request", { request_type: "internal" }, { internal: true }],
    ["request_type external and an external request", { request_type: "external" }, {}],
    ["request_type both", { request_type: "both" }, { internal: true }],
    ["filter_enabled 100 of 100", { filter_enabled: { default_value: { numerator: 100 } } }, {}],
  ];
  for (const [why, fields, setting] of made) {
    it(`is made for ${why}`, () =>
      using(fields, setting, async (proxy) => {
        peer.reply = () => OVER;
        assert.equal((await ask(proxy)).status, 429);
      }));
  }

  it("takes the limits of its stage", () =>
    using({ stage: 1 }, { routeLimits: [limit("zero"), limit("one", 1)] }, async (proxy) => {
      await ask(proxy);
      assert.deepEqual(peer.asked[0]!.descriptors, [["generic_key=one"]]);
    }));
});

describe("per route", () => {
  const both = { routeLimits: [limit("route")], hostLimits: [limit("host")] };
  const host = { routeLimits: [], hostLimits: [limit("host")] };
  const table: readonly (readonly [string, Fields | undefined, Setting, readonly string[]])[] = [
    ["nothing, the route has limits", undefined, both, ["route"]],
    ["nothing, the route has none", undefined, host, ["host"]],
    ["OVERRIDE", { vh_rate_limits: "OVERRIDE" }, both, ["route"]],
    ["INCLUDE", { vh_rate_limits: "INCLUDE" }, both, ["route", "host"]],
    ["IGNORE", { vh_rate_limits: "IGNORE" }, host, []],
    ["OVERRIDE_POLICY", { override_option: "OVERRIDE_POLICY", vh_rate_limits: "INCLUDE" }, both, ["route"]],
    ["INCLUDE_POLICY", { override_option: "INCLUDE_POLICY" }, both, ["route", "host"]],
    ["IGNORE_POLICY", { override_option: "IGNORE_POLICY", vh_rate_limits: "INCLUDE" }, host, []],
  ];
  for (const [what, perRoute, setting, wanted] of table) {
    it(`${what}: ${wanted.join(" and ") || "no call"}`, () =>
      using({}, perRoute === undefined ? setting : { ...setting, perRoute }, async (proxy) => {
        assert.equal((await ask(proxy)).status, 200);
        assert.deepEqual(
          peer.asked[0]?.descriptors.flat() ?? [],
          wanted.map((value) => `generic_key=${value}`),
        );
      }));
  }

  it("domain", () =>
    using({}, { perRoute: { domain: "special" } }, async (proxy) => {
      await ask(proxy);
      assert.equal(peer.asked[0]!.domain, "special");
    }));

  const message = [{ actions: [{ generic_key: { descriptor_value: "x" } }] }];
  it("rate_limits of the filter come in place of the route's and the virtual host's", () =>
    using({ rate_limits: message }, { ...both, more: { rateLimits: [limit("own", 7)] } }, async (proxy) => {
      await ask(proxy);
      assert.deepEqual(peer.asked[0]!.descriptors, [["generic_key=own"]]);
    }));

  it("rate_limits of the route's override come in place of all others", () =>
    using(
      { rate_limits: message },
      {
        ...both,
        more: { rateLimits: [limit("own")] },
        perRoute: { rate_limits: message },
        overrideLimits: [limit("first"), USER, limit("second")],
      },
      async (proxy) => {
        await ask(proxy);
        assert.deepEqual(peer.asked[0]!.descriptors, [["generic_key=first"], ["generic_key=second"]]);
      },
    ));
});

describe("OK", () => {
  it("adds request and response headers beside those that are there", () =>
    using({}, {}, async (proxy) => {
      peer.reply = () => ({
        overall_code: "OK",
        request_headers_to_add: [
          { key: "X-Plan", value: "gold" },
          { key: "x-there", value: "two" },
          { key: "x-raw", raw_value: Buffer.from("ra\xffw", "latin1") },
        ],
        response_headers_to_add: [
          { key: "X-Left", value: "9" },
          { key: "x-origin", value: "limits" },
        ],
      });
      const answer = await ask(proxy, { "x-there": "one" });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["x-left"], "9");
      assert.equal(answer.headers["x-origin"], "yes, limits");
      assert.equal(answer.headers["x-envoy-ratelimited"], undefined);
      assert.deepEqual(limitHeaders(answer), [undefined, undefined, undefined]);
      assert.deepEqual([seen!["x-plan"], seen!["x-there"], seen!["x-raw"]], ["gold", "one, two", "ra\xffw"]);
      assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
    }));

  it("lets a body through that waited, larger than the buffer", () =>
    using({}, { bufferLimitBytes: 1024 }, async (proxy) => {
      const body = "x".repeat(300_000);
      assert.equal((await ask(proxy, {}, body)).body, "got 300000");
      assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
    }));
});

describe("OVER_LIMIT", () => {
  it("answers 429 with flag, details, header and counters", () =>
    using({}, {}, async (proxy) => {
      peer.reply = () => OVER;
      const answer = await ask(proxy);
      assert.deepEqual([answer.status, answer.body, answer.headers["x-envoy-ratelimited"]], [429, "", "true"]);
      assert.equal(seen, undefined);
      const info = proxy.engine.finished.at(-1)!;
      assert.equal(info.responseCodeDetails, "request_rate_limited");
      assert.equal(info.hasFlag(ResponseFlag.RL), true);
      assert.deepEqual(counters(proxy), [0, 0, 1, 0]);
      for (const name of ["upstream_rq_429", "upstream_rq_4xx", "upstream_rq_completed"]) {
        assert.equal(proxy.metric(Metric.COUNTER, `cluster.origin_stats.${name}`), 1, name);
      }
    }));

  it("counts below stat_prefix", () =>
    using({ stat_prefix: "gold" }, {}, async (proxy) => {
      peer.reply = () => OVER;
      await ask(proxy);
      assert.deepEqual(counters(proxy, "gold."), [0, 0, 1, 0]);
    }));

  it("sends the service's body, type and headers, then the configured ones", () =>
    using(
      {
        response_headers_to_add: [
          { header: { key: "X-Why", value: "100%%" } },
          { header: { key: "x-from", value: "filter" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
          { header: { key: "x-both", value: "filter" } },
          { header: { key: "x-none", value: "no" }, append_action: "OVERWRITE_IF_EXISTS" },
          { header: { key: "x-empty" }, keep_empty_value: true },
        ],
      },
      {},
      async (proxy) => {
        const headers = { "content-type": "application/json", "x-from": "service", "x-both": "service" };
        const list = Object.entries(headers).map(([key, value]) => ({ key, value }));
        peer.reply = () => ({ ...OVER, raw_body: Buffer.from('{"slow":true}'), response_headers_to_add: list });
        const answer = await ask(proxy);
        assert.deepEqual([answer.status, answer.body], [429, '{"slow":true}']);
        assert.equal(answer.headers["content-type"], "application/json");
        assert.equal(answer.headers["x-why"], "100%");
        assert.equal(answer.headers["x-from"], "filter");
        assert.equal(answer.headers["x-both"], "service, filter");
        assert.equal("x-none" in answer.headers, false);
        assert.equal(answer.headers["x-empty"], "");
      },
    ));

  it("keeps the configured response headers to responses that it limits", () =>
    using({ response_headers_to_add: [{ header: { key: "x-why", value: "limit" } }] }, {}, async (proxy) => {
      assert.equal((await ask(proxy)).headers["x-why"], undefined);
    }));

  it("leaves x-envoy-ratelimited out when that is disabled", () =>
    using({ disable_x_envoy_ratelimited_header: true }, {}, async (proxy) => {
      peer.reply = () => OVER;
      const answer = await ask(proxy);
      assert.deepEqual([answer.status, "x-envoy-ratelimited" in answer.headers], [429, false]);
    }));

  for (const [code, wanted] of [
    [503, 503],
    [404, 404],
    [399, 429],
    [200, 429],
    [0, 429],
  ] as const) {
    it(`rate_limited_status ${code} answers ${wanted}`, () =>
      using({ rate_limited_status: { code } }, {}, async (proxy) => {
        peer.reply = () => OVER;
        assert.equal((await ask(proxy)).status, wanted);
      }));
  }

  for (const [exhausted, wanted] of [
    [false, "14"],
    [true, "8"],
  ] as const) {
    it(`is gRPC status ${wanted} for gRPC, rate_limited_as_resource_exhausted ${exhausted}`, () =>
      using({ rate_limited_as_resource_exhausted: exhausted }, {}, async (proxy) => {
        peer.reply = () => OVER;
        const answer = await ask(proxy, { "content-type": "application/grpc" }, "");
        assert.deepEqual([answer.status, answer.headers["grpc-status"]], [200, wanted]);
        assert.equal(answer.headers["x-envoy-ratelimited"], "true");
      }));
  }

  const relaxed: readonly (readonly [string, Fields, Record<string, number>])[] = [
    ["filter_enforced 0", { filter_enforced: { default_value: {} } }, {}],
    ["runtime ratelimit.http_filter_enforcing 0", {}, { "ratelimit.http_filter_enforcing": 0 }],
    [
      "filter_enforced by key",
      { filter_enforced: { default_value: { numerator: 100 }, runtime_key: "hard" } },
      { hard: 0 },
    ],
  ];
  for (const [why, fields, runtime] of relaxed) {
    it(`marks the response and lets it pass with ${why}`, () =>
      using(fields, { runtime }, async (proxy) => {
        peer.reply = () => ({ ...OVER, request_headers_to_add: [{ key: "x-over", value: "1" }] });
        const answer = await ask(proxy);
        assert.deepEqual([answer.status, answer.headers["x-envoy-ratelimited"]], [200, "true"]);
        assert.equal(seen!["x-over"], "1");
        assert.equal(proxy.engine.finished.at(-1)!.hasFlag(ResponseFlag.RL), false);
        assert.deepEqual(counters(proxy), [0, 0, 1, 0]);
      }));
  }
});

describe("x-ratelimit headers", () => {
  const one = (requests: number, unit: number, remaining: number, more: Fields = {}): Fields => ({
    code: 1,
    current_limit: { requests_per_unit: requests, unit, ...more },
    limit_remaining: remaining,
    duration_until_reset: { seconds: remaining + 1, nanos: 999_999_999 },
  });
  const table: readonly (readonly [string, readonly Fields[], readonly unknown[]])[] = [
    ["one status", [one(10, 1, 3)], ["10, 10;w=1", "3", "4"]],
    [
      "the smallest remaining of several, with names",
      [one(1000, 3, 50), one(10, 2, 3, { name: "per-ip" }), { code: 1 }, one(5, 4, 4)],
      ['10, 1000;w=3600, 10;w=60;name="per-ip", 5;w=86400', "3", "4"],
    ],
    ["the first of equals", [one(7, 1, 3), one(8, 1, 3)], ["7, 7;w=1, 8;w=1", "3", "4"]],
    ["a unit that is not known", [one(9, 0, 2)], ["9", "2", "3"]],
    ["month and year", [one(9, 5, 2), one(8, 6, 3)], ["9, 9;w=2592000, 8;w=31536000", "2", "3"]],
    ["no time of reset", [{ code: 1, current_limit: { requests_per_unit: 2, unit: 1 } }], ["2, 2;w=1", "0", "0"]],
    ["no limit at all", [{ code: 1 }], [undefined, undefined, undefined]],
    ["no status", [], [undefined, undefined, undefined]],
  ];
  for (const [what, statuses, wanted] of table) {
    it(`${what}, allowed or not`, () =>
      using({ enable_x_ratelimit_headers: "DRAFT_VERSION_03" }, {}, async (proxy) => {
        for (const [code, answered] of [
          ["OK", 200],
          ["OVER_LIMIT", 429],
        ] as const) {
          peer.reply = () => ({ overall_code: code, statuses });
          const answer = await ask(proxy);
          assert.equal(answer.status, answered);
          assert.deepEqual(limitHeaders(answer), wanted);
        }
      }));
  }

  it("not unless they are asked for", () =>
    using({}, {}, async (proxy) => {
      peer.reply = () => ({ overall_code: "OK", statuses: [one(10, 1, 3)] });
      assert.deepEqual(limitHeaders(await ask(proxy)), [undefined, undefined, undefined]);
    }));
});

describe("no usable answer", () => {
  const failures: readonly (readonly [string, Reply])[] = [
    ["UNKNOWN code", { statuses: [] }],
    ["UNAVAILABLE", { code: status.UNAVAILABLE }],
    ["INTERNAL", { code: status.INTERNAL }],
    ["no answer in time", "late"],
  ];
  for (const [what, reply] of failures) {
    const fields = reply === "late" ? { timeout: { nanos: 20_000_000 } } : {};
    it(`${what}: allowed by default`, () =>
      using(fields, {}, async (proxy) => {
        peer.reply = () => reply;
        assert.equal((await ask(proxy)).status, 200);
        assert.deepEqual(counters(proxy), [0, 1, 0, 1]);
      }));

    it(`${what}: 500 with failure_mode_deny`, () =>
      using({ ...fields, failure_mode_deny: true }, {}, async (proxy) => {
        peer.reply = () => reply;
        const answer = await ask(proxy);
        assert.deepEqual([answer.status, answer.body], [500, ""]);
        assert.equal(answer.headers["x-envoy-ratelimited"], undefined);
        const info = proxy.engine.finished.at(-1)!;
        assert.equal(info.responseCodeDetails, "rate_limiter_error");
        assert.equal(info.hasFlag(ResponseFlag.RLSE), true);
        assert.equal(info.hasFlag(ResponseFlag.RL), false);
        assert.deepEqual(counters(proxy), [0, 1, 0, 0]);
      }));
  }

  it("a service that is not there, and one whose cluster is not", async () => {
    peer.stop();
    for (const name of ["limits", "missing"]) {
      const rate_limit_service = { grpc_service: { envoy_grpc: { cluster_name: name } } };
      await using({ rate_limit_service, failure_mode_deny: true }, {}, async (proxy) => {
        assert.equal((await ask(proxy)).status, 500);
        assert.equal(proxy.engine.finished.at(-1)!.hasFlag(ResponseFlag.RLSE), true);
      });
      await using({ rate_limit_service }, {}, async (proxy) => {
        assert.equal((await ask(proxy)).status, 200);
        assert.deepEqual(counters(proxy), [0, 1, 0, 1]);
      });
    }
  });

  it("takes the status from status_on_error", () =>
    using({ failure_mode_deny: true, status_on_error: { code: 503 } }, {}, async (proxy) => {
      peer.reply = () => ({ code: status.UNAVAILABLE });
      assert.equal((await ask(proxy)).status, 503);
    }));

  const shares: readonly (readonly [string, Fields, Record<string, number>, number])[] = [
    [
      "0 over failure_mode_deny",
      { failure_mode_deny: true, failure_mode_deny_percent: { default_value: {} } },
      {},
      200,
    ],
    ["100", { failure_mode_deny_percent: { default_value: { numerator: 10_000, denominator: 1 } } }, {}, 500],
    ["by its key", { failure_mode_deny_percent: { default_value: {}, runtime_key: "deny" } }, { deny: 100 }, 500],
  ];
  for (const [what, fields, runtime, wanted] of shares) {
    it(`failure_mode_deny_percent ${what}: ${wanted}`, () =>
      using(fields, { runtime }, async (proxy) => {
        peer.reply = () => ({ code: status.UNAVAILABLE });
        assert.equal((await ask(proxy)).status, wanted);
      }));
  }
});

describe("a stream that ends first", () => {
  it("cancels its call, and others go on", () =>
    using({ timeout: {} }, {}, async (proxy) => {
      peer.reply = () => "late";
      for (let n = 1; n <= 20; n++) {
        const outgoing = request({ host: "127.0.0.1", port: proxy.engine.port, agent: false });
        outgoing.on("error", () => {});
        outgoing.end();
        await peer.until(() => peer.asked.length === n);
        outgoing.destroy();
        await peer.until(() => peer.cancelled === n);
      }
      assert.equal(seen, undefined);
      peer.reply = () => ({ overall_code: "OK" });
      assert.equal((await ask(proxy)).status, 200);
      assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
    }));
});
