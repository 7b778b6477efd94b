import assert from "node:assert/strict";
import { test } from "node:test";
import { grpcAnswer, loadFilter } from "sluice/test";
import type { FilterOptions, TestFilter } from "sluice/test";

const OK = Buffer.of(0x08, 1);
const OVER_LIMIT = Buffer.of(0x08, 2);

function limited(service: NonNullable<FilterOptions["upstreams"]>[string], deny = false): Promise<TestFilter> {
  return loadFilter({
    typedConfig: {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
      domain: "shop",
      // It answers at once; but the machine may be slow.
      timeout: "60s",
      failure_mode_deny: deny,
      rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name: "limits" } }, transport_api_version: "V3" },
    },
    routes: [
      {
        match: { prefix: "/" },
        route: { cluster: "upstream", rate_limits: [{ actions: [{ generic_key: { descriptor_value: "all" } }] }] },
      },
    ],
    upstreams: { limits: service },
  });
}

test("asks the service, and lets pass what it allows", async () => {
  const filter = await limited(() => grpcAnswer(OK));
  const answer = await filter.send();
  assert.equal(answer.status, 200);
  const [call] = answer.upstream;
  assert.equal(call?.headers[":path"], "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
  assert.match(call.bytes.toString("latin1"), /shop.*generic_key.*all/s);
  filter.close();
});

test("answers 429 over the limit", async () => {
  const filter = await limited(() => grpcAnswer(OVER_LIMIT));
  const answer = await filter.send();
  assert.equal(answer.status, 429);
  assert.equal(answer.headers["x-envoy-ratelimited"], "true");
  assert.deepEqual(answer.flags, ["RateLimited"]);
  filter.close();
});

test("a service that fails lets pass, or not, as configured", async () => {
  const lenient = await limited(() => grpcAnswer(null, 14, "gone"));
  assert.equal((await lenient.send()).status, 200);
  lenient.close();
  const strict = await limited(() => ({ reset: "remote reset" }), true);
  const answer = await strict.send();
  assert.equal(answer.status, 500);
  assert.deepEqual(answer.flags, ["RateLimitServiceError"]);
  strict.close();
});
