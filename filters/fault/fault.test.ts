import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFilter } from "sluice/test";

const FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";
const ALWAYS = { numerator: 100, denominator: "HUNDRED" };

test("delays by its configuration's time, not earlier", async () => {
  const filter = await loadFilter({
    clock: Date.UTC(2026, 0, 1),
    typedConfig: { "@type": FAULT, delay: { fixed_delay: "5s", percentage: ALWAYS } },
  });
  let status = 0;
  const { answer } = filter.begin();
  void answer.then((reply) => (status = reply.status));
  await filter.advance(4999);
  assert.equal(status, 0);
  await filter.advance(1);
  assert.equal((await answer).status, 200);
  filter.close();
});

test("aborts with status, text and flag", async () => {
  const filter = await loadFilter({
    typedConfig: { "@type": FAULT, abort: { http_status: 503, percentage: ALWAYS } },
  });
  const answer = await filter.send();
  assert.equal(answer.status, 503);
  assert.equal(answer.body, "fault filter abort");
  assert.deepEqual(answer.flags, ["FaultInjected"]);
  assert.equal(answer.upstream.length, 0);
  filter.close();
});
