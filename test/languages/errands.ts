/**
 * What every guest of test/guests does, in whatever language: the errand filter. The request header `x-do` names an
 * errand; each line of {@link ERRANDS} says what must have happened then. A guest's tag is its name, and so the
 * value of what it adds.
 *
 * Plugin: answers 0 to the configuration "refuse"; ticks every 20 ms and counts the ticks, with compare and swap,
 * in the shared data `TAG.ticks`; registers the queue TAG and puts what comes there into `TAG.queued`; has the
 * metrics `TAG.counter`, `TAG.gauge`, `TAG.histogram`; logs "TAG done CODE ERRAND" when a stream ends.
 */
import assert from "node:assert/strict";
import type { Answer, Arrived } from "./stage.ts";

export interface Errand {
  readonly name: string;
  readonly fields?: readonly (readonly [string, string])[];
  readonly pieces?: readonly string[];
  /** Asked again until it holds: something in the background must have happened first. */
  readonly patient?: boolean;
  check(answer: Answer, tag: string, log: readonly string[]): void;
}

/** The upstream got it, and its answer came back. */
function passed(answer: Answer): Arrived {
  assert.equal(answer.status, 200);
  assert.ok(answer.arrived !== undefined);
  return answer.arrived;
}

/** The request field that the guest told its result in. */
function told(answer: Answer, field: string): string {
  const values = passed(answer).headers[field] ?? [];
  assert.equal(values.length, 1, `${field}: ${values.join()}`);
  return values[0]!;
}

/** What a guest with a C library, or a runtime of its own, finds in its environment and clocks. */
export const LIBRARY: Errand = {
  name: "library",
  check: (answer) => assert.equal(told(answer, "x-library"), "bread 1 fine"),
};

const LONG = "0123456789abcdef".repeat(10_000);

export const ERRANDS: readonly Errand[] = [
  {
    name: "headers",
    fields: [
      ["x-replace", "old"],
      ["x-replace", "older"],
      ["x-remove", "please"],
    ],
    check(answer, tag) {
      const { headers } = passed(answer);
      assert.deepEqual([headers["x-added"], headers["x-replace"], headers["x-remove"]], [[tag], ["new"], undefined]);
      const { "x-out": out, "x-server": server, "x-secret": secret } = answer.headers;
      assert.deepEqual([out, server, secret], [tag, "new", undefined]);
      assert.equal(answer.body, "from upstream");
    },
  },
  {
    name: "pairs",
    fields: [
      ["x-twice", "one"],
      ["x-twice", "two"],
      ["x-empty", ""],
    ],
    check(answer) {
      const { headers } = passed(answer);
      assert.deepEqual([headers["x-twice"], headers["x-empty"]], [["one", "two"], [""]]);
      assert.ok(Number(told(answer, "x-pairs")) >= 9, told(answer, "x-pairs"));
    },
  },
  // The last is what a filter that converts each character must be able to do with the fuel of one callback.
  ...[["one"], ["a", "b", "c"], [LONG, LONG, LONG]].map((pieces): Errand => ({
    name: "body",
    pieces,
    check(answer, tag) {
      assert.equal(passed(answer).body, `${tag} got ${pieces.join("")}`);
      assert.equal(answer.body, `${tag} sent from upstream`);
    },
  })),
  ...[["one"], ["a", "b", "c"]].map((pieces): Errand => ({
    name: "edges",
    pieces,
    check(answer) {
      assert.equal(passed(answer).body, `[${pieces.join("")}]`);
      assert.equal(answer.body, "[from upstream]");
    },
  })),
  {
    name: "reply",
    check(answer, tag) {
      assert.deepEqual([answer.status, answer.body, answer.headers["x-reply"]], [418, `${tag} is a teapot`, tag]);
      assert.equal(answer.arrived, undefined);
    },
  },
  {
    name: "call",
    pieces: ["held back ", "until the answers are there"],
    check(answer) {
      assert.equal(told(answer, "x-call"), "200 /first:question 200 /second:question");
      assert.equal(passed(answer).body, "held back until the answers are there");
    },
  },
  { name: "call-nowhere", check: (answer) => assert.equal(told(answer, "x-call"), "refused") },
  { name: "grpc", check: (answer) => assert.equal(told(answer, "x-grpc"), "answer to ask") },
  { name: "grpc-fails", check: (answer) => assert.equal(told(answer, "x-grpc"), "status 5") },
  {
    name: "ticks",
    patient: true,
    check: (answer) => assert.ok(Number(told(answer, "x-ticks")) >= 2, told(answer, "x-ticks")),
  },
  { name: "queue", fields: [["x-in", "parcel"]], check: (answer) => void passed(answer) },
  { name: "queued", patient: true, check: (answer) => assert.equal(told(answer, "x-queued"), "parcel") },
  { name: "metrics", check: (answer) => assert.match(told(answer, "x-metrics"), /^\d*[50] 5$/) },
  {
    name: "properties",
    check: (answer, tag) => assert.equal(told(answer, "x-properties"), `/errand?a=b|errand|${answer.port}|${tag}|none`),
  },
  { name: "config", check: (answer) => assert.equal(told(answer, "x-config"), "plugin text|vm text") },
  {
    name: "log",
    check(answer, tag, log) {
      passed(answer);
      for (let level = 0; level < 6; level++) {
        assert.ok(
          log.some((line) => line.startsWith(`${level} `) && line.endsWith(`: ${tag} level ${level}`)),
          `no line of level ${level}`,
        );
      }
    },
  },
];
