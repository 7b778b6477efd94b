import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ListenerConfig } from "../../runtime/config/snapshot.ts";
import { Draining } from "../../runtime/worker/draining.ts";

const INBOUND = 1;
const OUTBOUND = 2;

function listener(drainsOnHealthCheckFail: boolean, trafficDirection: number): ListenerConfig {
  return { drainsOnHealthCheckFail, trafficDirection } as ListenerConfig;
}

describe("Draining", () => {
  test("who listens to which reason", () => {
    const draining = new Draining();
    const [inbound, outbound, modifyOnly] = [
      draining.of(listener(true, INBOUND)),
      draining.of(listener(true, OUTBOUND)),
      draining.of(listener(false, INBOUND)),
    ];
    const asking = (): boolean[] => [inbound, outbound, modifyOnly].map((one) => one.asks());
    assert.deepEqual(asking(), [false, false, false]);
    draining.begin("health_check", 0, 0);
    assert.deepEqual(asking(), [true, true, false]);
    draining.end("health_check");
    assert.deepEqual(asking(), [false, false, false]);
    draining.begin("drain_inbound", 0, 0);
    assert.deepEqual(asking(), [true, false, true]);
    draining.begin("drain", 0, 0);
    assert.deepEqual(asking(), [true, true, true]);
  });

  for (const [elapsedMs, random, asks] of [
    [0, 0.999, false],
    [250_000, 0.2, true],
    [250_000, 0.3, false],
    [750_000, 0.7, true],
    [750_000, 0.8, false],
    [1_000_000, 0.999, true],
    [2_000_000, 0.999, true],
  ] as const) {
    test(`${elapsedMs / 1000} s into a drain of 1000 s, chance ${random} ${asks ? "asks" : "does not ask"}`, () => {
      const draining = new Draining(() => random);
      draining.begin("drain", 1_000_000, elapsedMs);
      assert.equal(draining.of(listener(true, OUTBOUND)).asks(), asks);
    });
  }

  test("a drain that goes on does not begin again", () => {
    const draining = new Draining(() => 0.5);
    draining.begin("drain", 1_000_000, 1_000_000);
    draining.begin("drain", 1_000_000, 0);
    assert.equal(draining.of(listener(true, OUTBOUND)).asks(), true);
  });

  test("a failed health check asks with every answer, whatever share a drain has", () => {
    const draining = new Draining(() => 0.999);
    draining.begin("drain", 1_000_000, 0);
    draining.begin("health_check", 0, 0);
    assert.equal(draining.of(listener(true, OUTBOUND)).asks(), true);
    assert.equal(draining.of(listener(false, OUTBOUND)).asks(), false);
  });
});
