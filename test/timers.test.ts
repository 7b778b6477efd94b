import assert from "node:assert/strict";
import { test } from "node:test";
import { Alarm } from "../runtime/timers.ts";
import { StillClock } from "./still-clock.ts";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("deadlines fire in order of time, once, and not when disarmed", (t) => {
  const clock = new StillClock(t);
  const fired: string[] = [];
  const alarm = (name: string): Alarm => new Alarm(() => fired.push(name));
  const [a, b, c, d] = [alarm("a"), alarm("b"), alarm("c"), alarm("d")];
  a.arm(40);
  b.arm(20);
  c.arm(20);
  d.arm(30);
  assert.ok(a.armed);
  c.disarm();
  assert.ok(!c.armed);
  clock.pass(19);
  assert.deepEqual(fired, []);
  for (const ms of [1, 10, 10, 100]) clock.pass(ms);
  assert.deepEqual(fired, ["b", "d", "a"]);
  assert.ok(!a.armed);
});

test("arming again replaces the time", (t) => {
  const clock = new StillClock(t);
  let fired = 0;
  const alarm = new Alarm(() => fired++);
  alarm.arm(20);
  clock.pass(10);
  alarm.arm(200);
  clock.pass(199);
  assert.equal(fired, 0);
  alarm.arm(5);
  clock.pass(5);
  assert.equal(fired, 1);
});

test("a deadline may arm itself, and others of its list, while it fires", async () => {
  let fired = 0;
  const other = new Alarm(() => fired++);
  const alarm: Alarm = new Alarm(() => {
    if (++fired < 3) {
      alarm.arm(10);
      other.arm(10);
    }
  });
  alarm.arm(10);
  while (alarm.armed || other.armed) await sleep(1);
  // alarm three times; other once per arming that was not replaced.
  assert.ok(fired >= 4 && fired <= 5, String(fired));
});

test("many different durations leave nothing behind", async () => {
  let fired = 0;
  for (let ms = 1; ms <= 200; ms++) new Alarm(() => fired++).arm(ms / 10);
  await sleep(80);
  assert.equal(fired, 200);
});

test("a time longer than a timer can wait does not fire, nor make the timer fire again and again", async (t) => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on("warning", note);
  t.after(() => process.off("warning", note));
  const alarm = new Alarm(() => assert.fail("25 days are over"));
  alarm.arm(2 ** 31);
  await sleep(20);
  assert.deepEqual(warnings, []);
  assert.ok(alarm.armed);
  alarm.disarm();
});
