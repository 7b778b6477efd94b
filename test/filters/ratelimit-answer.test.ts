/** What the rate limit filter does with an answer, or without one; over real sockets, field by field. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import * as Metric from "../../abi/metric.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import type { Reply } from "./ratelimit-peer.ts";
import { type Answer, ask, counters, type Fields, Stage } from "./ratelimit-stage.ts";

const OVER = { overall_code: "OVER_LIMIT" };
const stage = new Stage();

function limitHeaders({ headers }: Answer): unknown[] {
  return ["limit", "remaining", "reset"].map((name) => headers[`x-ratelimit-${name}`]);
}

describe("OK", () => {
  it("adds request and response headers beside those that are there", () =>
    stage.using({}, {}, async (proxy) => {
      stage.peer.reply = () => ({
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
      assert.deepEqual(
        [stage.seen!["x-plan"], stage.seen!["x-there"], stage.seen!["x-raw"]],
        ["gold", "one, two", "ra\xffw"],
      );
      assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
    }));

  it("leaves the service's metadata for others, whatever the answer", () =>
    stage.using({}, {}, async (proxy) => {
      for (const code of ["OK", "OVER_LIMIT"]) {
        stage.peer.reply = () => ({
          overall_code: code,
          dynamic_metadata: {
            fields: {
              plan: { stringValue: "göld" },
              left: { numberValue: 2.5 },
              nothing: { nullValue: 0 },
              deep: { structValue: { fields: { on: { boolValue: true } } } },
              list: { listValue: { values: [{ numberValue: -1 }, { stringValue: "" }, { boolValue: false }] } },
            },
          },
        });
        await ask(proxy);
        assert.deepEqual(proxy.engine.finished.at(-1)!.dynamicMetadata?.get("envoy.filters.http.ratelimit"), {
          plan: "göld",
          left: 2.5,
          nothing: null,
          deep: { on: true },
          list: [-1, "", false],
        });
      }
    }));

  it("lets a body through that waited, larger than the buffer", () =>
    stage.using({}, { bufferLimitBytes: 1024 }, async (proxy) => {
      const body = "x".repeat(300_000);
      assert.equal((await ask(proxy, {}, body)).body, "got 300000");
      assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
    }));
});

describe("OVER_LIMIT", () => {
  it("answers 429 with flag, details, header and counters", () =>
    stage.using({}, {}, async (proxy) => {
      stage.peer.reply = () => OVER;
      const answer = await ask(proxy);
      assert.deepEqual([answer.status, answer.body, answer.headers["x-envoy-ratelimited"]], [429, "", "true"]);
      assert.equal(stage.seen, undefined);
      const info = proxy.engine.finished.at(-1)!;
      assert.equal(info.responseCodeDetails, "request_rate_limited");
      assert.equal(info.hasFlag(ResponseFlag.RL), true);
      assert.deepEqual(counters(proxy), [0, 0, 1, 0]);
      for (const name of ["upstream_rq_429", "upstream_rq_4xx", "upstream_rq_completed"]) {
        assert.equal(proxy.metric(Metric.COUNTER, `cluster.origin_stats.${name}`), 1, name);
      }
    }));

  it("counts below stat_prefix", () =>
    stage.using({ stat_prefix: "gold" }, {}, async (proxy) => {
      stage.peer.reply = () => OVER;
      await ask(proxy);
      assert.deepEqual(counters(proxy, "gold."), [0, 0, 1, 0]);
    }));

  it("sends the service's body, type and headers, then the configured ones", () =>
    stage.using(
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
        stage.peer.reply = () => ({ ...OVER, raw_body: Buffer.from('{"slow":true}'), response_headers_to_add: list });
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
    stage.using({ response_headers_to_add: [{ header: { key: "x-why", value: "limit" } }] }, {}, async (proxy) => {
      assert.equal((await ask(proxy)).headers["x-why"], undefined);
    }));

  it("leaves x-envoy-ratelimited out when that is disabled", () =>
    stage.using({ disable_x_envoy_ratelimited_header: true }, {}, async (proxy) => {
      stage.peer.reply = () => OVER;
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
      stage.using({ rate_limited_status: { code } }, {}, async (proxy) => {
        stage.peer.reply = () => OVER;
        assert.equal((await ask(proxy)).status, wanted);
      }));
  }

  for (const [exhausted, wanted] of [
    [false, "14"],
    [true, "8"],
  ] as const) {
    it(`is gRPC status ${wanted} for gRPC, rate_limited_as_resource_exhausted ${exhausted}`, () =>
      stage.using({ rate_limited_as_resource_exhausted: exhausted }, {}, async (proxy) => {
        stage.peer.reply = () => OVER;
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
      stage.using(fields, { runtime }, async (proxy) => {
        stage.peer.reply = () => ({ ...OVER, request_headers_to_add: [{ key: "x-over", value: "1" }] });
        const answer = await ask(proxy);
        assert.deepEqual([answer.status, answer.headers["x-envoy-ratelimited"]], [200, "true"]);
        assert.equal(stage.seen!["x-over"], "1");
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
      stage.using({ enable_x_ratelimit_headers: "DRAFT_VERSION_03" }, {}, async (proxy) => {
        for (const [code, answered] of [
          ["OK", 200],
          ["OVER_LIMIT", 429],
        ] as const) {
          stage.peer.reply = () => ({ overall_code: code, statuses });
          const answer = await ask(proxy);
          assert.equal(answer.status, answered);
          assert.deepEqual(limitHeaders(answer), wanted);
        }
      }));
  }

  it("not unless they are asked for", () =>
    stage.using({}, {}, async (proxy) => {
      stage.peer.reply = () => ({ overall_code: "OK", statuses: [one(10, 1, 3)] });
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
      stage.using(fields, {}, async (proxy) => {
        stage.peer.reply = () => reply;
        assert.equal((await ask(proxy)).status, 200);
        assert.deepEqual(counters(proxy), [0, 1, 0, 1]);
      }));

    it(`${what}: 500 with failure_mode_deny`, () =>
      stage.using({ ...fields, failure_mode_deny: true }, {}, async (proxy) => {
        stage.peer.reply = () => reply;
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
    stage.peer.stop();
    for (const name of ["limits", "missing"]) {
      const rate_limit_service = { grpc_service: { envoy_grpc: { cluster_name: name } } };
      await stage.using({ rate_limit_service, failure_mode_deny: true }, {}, async (proxy) => {
        assert.equal((await ask(proxy)).status, 500);
        assert.equal(proxy.engine.finished.at(-1)!.hasFlag(ResponseFlag.RLSE), true);
      });
      await stage.using({ rate_limit_service }, {}, async (proxy) => {
        assert.equal((await ask(proxy)).status, 200);
        assert.deepEqual(counters(proxy), [0, 1, 0, 1]);
      });
    }
  });

  it("takes the status from status_on_error", () =>
    stage.using({ failure_mode_deny: true, status_on_error: { code: 503 } }, {}, async (proxy) => {
      stage.peer.reply = () => ({ code: status.UNAVAILABLE });
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
      stage.using(fields, { runtime }, async (proxy) => {
        stage.peer.reply = () => ({ code: status.UNAVAILABLE });
        assert.equal((await ask(proxy)).status, wanted);
      }));
  }
});
