import assert from "node:assert/strict";
import { test } from "node:test";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import { RetryState } from "../../runtime/http/retry.ts";
import { chooseTimeout } from "../../runtime/http/route-apply.ts";

const TIMEOUT = "x-envoy-upstream-rq-timeout-ms";

test("numbers in headers of callers: whole ones count, anything else is as if it were not there", () => {
  const timeout = (value: string): number => chooseTimeout(15_000, new HeaderMap([TIMEOUT, value]));
  assert.deepEqual(["250", "0", "", " ", "1e3", "0x10", "-1", "1.5", "9".repeat(20)].map(timeout), [
    ...[250, 0],
    ...[15_000, 15_000, 15_000, 15_000, 15_000, 15_000, 15_000],
  ]);
  const retries = (value: string): number =>
    RetryState.of(null, new HeaderMap(["x-envoy-retry-on", "5xx", "x-envoy-max-retries", value]))!.left;
  assert.deepEqual(["3", "0", "", "1e3", "many"].map(retries), [3, 0, 1, 1, 1]);
});
