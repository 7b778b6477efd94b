/** When the rate limit filter asks its service, and what about; over real sockets, field by field. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { describe, it } from "node:test";
import { forward } from "../http/engine.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import type { Asked } from "./ratelimit-peer.ts";
import { ask, counters, type Fields, limit, type Setting, Stage, USER } from "./ratelimit-stage.ts";

const OVER = { overall_code: "OVER_LIMIT" };
const stage = new Stage();

describe("the call", () => {
  it("carries domain, descriptors and the service's metadata", () =>
    stage.using(
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
        const [asked] = stage.peer.asked as [Asked];
        assert.equal(asked.domain, "test");
        assert.deepEqual(asked.descriptors, [["destination_cluster=origin", "user=amy"], ["generic_key=all"]]);
        assert.equal(asked.metadata["x-token"], "secret");
        assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
      },
    ));

  it("takes the default timeout of 20 ms, and none for 0", async () => {
    await stage.using({ timeout: null }, {}, async (proxy) => {
      stage.peer.reply = () => "late";
      assert.equal((await ask(proxy)).status, 200);
      assert.deepEqual(counters(proxy), [0, 1, 0, 1]);
    });
    await stage.using({ timeout: {} }, {}, async (proxy) => {
      stage.peer.reply = () => ({ overall_code: "OK" });
      assert.equal((await ask(proxy)).status, 200);
      assert.equal(stage.peer.asked.at(-1)!.deadline, Infinity);
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
      stage.using(fields, setting, async (proxy) => {
        stage.peer.reply = () => OVER;
        assert.equal((await ask(proxy, headers)).status, 200);
        assert.equal(stage.peer.asked.length, 0);
      }));
  }

  it("is not made for an unknown cluster, nor without a route", async () => {
    await stage.using({}, { action: forward("nowhere", { rateLimits: [limit("x")] }) }, async (proxy) => {
      assert.equal((await ask(proxy)).status, 503);
      assert.equal(proxy.engine.finished.at(-1)!.hasFlag(ResponseFlag.NC), true);
    });
    assert.equal(stage.peer.asked.length, 0);
  });

  const made: readonly (readonly [string, Fields, Setting])[] = [
    ["request_type internal and an internal request", { request_type: "internal" }, { internal: true }],
    ["request_type external and an external request", { request_type: "external" }, {}],
    ["request_type both", { request_type: "both" }, { internal: true }],
    ["filter_enabled 100 of 100", { filter_enabled: { default_value: { numerator: 100 } } }, {}],
  ];
  for (const [why, fields, setting] of made) {
    it(`is made for ${why}`, () =>
      stage.using(fields, setting, async (proxy) => {
        stage.peer.reply = () => OVER;
        assert.equal((await ask(proxy)).status, 429);
      }));
  }

  it("takes the limits of its stage", () =>
    stage.using({ stage: 1 }, { routeLimits: [limit("zero"), limit("one", 1)] }, async (proxy) => {
      await ask(proxy);
      assert.deepEqual(stage.peer.asked[0]!.descriptors, [["generic_key=one"]]);
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
      stage.using({}, perRoute === undefined ? setting : { ...setting, perRoute }, async (proxy) => {
        assert.equal((await ask(proxy)).status, 200);
        assert.deepEqual(
          stage.peer.asked[0]?.descriptors.flat() ?? [],
          wanted.map((value) => `generic_key=${value}`),
        );
      }));
  }

  it("domain", () =>
    stage.using({}, { perRoute: { domain: "special" } }, async (proxy) => {
      await ask(proxy);
      assert.equal(stage.peer.asked[0]!.domain, "special");
    }));

  const message = [{ actions: [{ generic_key: { descriptor_value: "x" } }] }];
  it("rate_limits of the filter come in place of the route's and the virtual host's", () =>
    stage.using({ rate_limits: message }, { ...both, more: { rateLimits: [limit("own", 7)] } }, async (proxy) => {
      await ask(proxy);
      assert.deepEqual(stage.peer.asked[0]!.descriptors, [["generic_key=own"]]);
    }));

  it("rate_limits of the route's override come in place of all others", () =>
    stage.using(
      { rate_limits: message },
      {
        ...both,
        more: { rateLimits: [limit("own")] },
        perRoute: { rate_limits: message },
        overrideLimits: [limit("first"), USER, limit("second")],
      },
      async (proxy) => {
        await ask(proxy);
        assert.deepEqual(stage.peer.asked[0]!.descriptors, [["generic_key=first"], ["generic_key=second"]]);
      },
    ));
});

describe("a stream that ends first", () => {
  it("cancels its call, and others go on", () =>
    stage.using({ timeout: {} }, {}, async (proxy) => {
      stage.peer.reply = () => "late";
      for (let n = 1; n <= 20; n++) {
        const outgoing = request({ host: "127.0.0.1", port: proxy.engine.port, agent: false });
        outgoing.on("error", () => {});
        outgoing.end();
        await stage.peer.until(() => stage.peer.asked.length === n);
        outgoing.destroy();
        await stage.peer.until(() => stage.peer.cancelled === n);
      }
      assert.equal(stage.seen, undefined);
      stage.peer.reply = () => ({ overall_code: "OK" });
      assert.equal((await ask(proxy)).status, 200);
      assert.deepEqual(counters(proxy), [1, 0, 0, 0]);
    }));
});
