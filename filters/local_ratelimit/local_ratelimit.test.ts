import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";

test("a bucket empties, and fills again with time", async () => {
  const filter = await loadFilter({
    clock: Date.UTC(2026, 0, 1),
    typedConfig: {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
      stat_prefix: "bucket",
      token_bucket: { max_tokens: 2, tokens_per_fill: 2, fill_interval: "1s" },
      filter_enabled: { default_value: { numerator: 100 } },
      filter_enforced: { default_value: { numerator: 100 } },
    },
  });
  const ask = async (): Promise<number> => {
    const { answer } = filter.begin();
    await filter.advance(1);
    return (await answer).status;
  };
  assert.deepEqual([await ask(), await ask(), await ask()], [200, 200, 429]);
  await filter.advance(1000);
  assert.equal(await ask(), 200);
  assert.equal(filter.metric("bucket.http_local_rate_limit.rate_limited"), 1);
  filter.close();
});
