/** Expressions that guests bring: how large they get is known before they are compiled. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RE2JS } from "re2js";
import * as Status from "../../abi/status.ts";
import { MAX_EXPRESSION_STEPS, MAX_GUEST_REGEX_SIZE } from "../../runtime/limits.ts";
import { Expression } from "../../runtime/wasm/cel/evaluate.ts";
import { regexSize } from "../../runtime/wasm/values/regex-size.ts";
import { fc } from "../properties.ts";
import { Puppet } from "./puppet.ts";
import { Stage } from "./stage.ts";

describe("the size of an expression", () => {
  for (const expression of [
    "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "(?i)https?://[^/]+(/v[0-9]+)?/users/([a-z0-9_.-]{1,64})/?",
    "\\Qa.b{1000}\\E|\\x{41}|\\p{Greek}{3}|[[:alpha:]]{5}|[]a]{4}",
  ]) {
    test(`${expression} is taken`, () => {
      RE2JS.compile(expression);
      assert.ok(regexSize(expression) <= MAX_GUEST_REGEX_SIZE / 8, String(regexSize(expression)));
    });
  }

  for (const expression of [
    "a{1000}".repeat(500),
    "(((a{10}){10}){10})".repeat(100),
    "(?:(?:[a-z]|b){100}){10}|".repeat(20),
    "\\Q[\\Ea{1000}b{1000}c{1000}d{1000}e{1000}]",
    "[]]{1000}[^]]{1000}[[:alpha:]]{1000}\\p{Greek}{1000}\\x{41}{1000}",
    "(\\)|\\(){1000}".repeat(10),
  ]) {
    test(`${expression.slice(0, 40)} … is too large`, () => {
      assert.ok(regexSize(expression) > MAX_GUEST_REGEX_SIZE, String(regexSize(expression)));
    });
  }

  test("is never far less than what compiling makes of it", () => {
    const pieces = ["a", ".", "[a-z]", "[^]x]", "\\d", "\\Q(\\E", "(", "(?:", ")", "|", "*", "+?", "{3}", "{2,5}", "{0,7}", "{", "}", "^", "\\x{41}", "[[:digit:]]"]; // prettier-ignore
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 25 }), (parts) => {
        const expression = parts.join("");
        let compiled: RE2JS;
        try {
          compiled = RE2JS.compile(expression);
        } catch {
          return;
        }
        assert.ok(compiled.programSize() <= 3 * regexSize(expression) + 8, `${expression}: ${regexSize(expression)}`);
      }),
      { numRuns: 2000 },
    );
  });
});

/** What `match_regex` answers in the stream's head, and why the instance failed. */
function matched(expression: string, text: string): { readonly status: number; readonly stage: Stage } {
  const puppet = new Puppet();
  const call = puppet.call("match_regex", ...puppet.text(expression), ...puppet.text(text));
  puppet.on("proxy_on_request_headers", 0, call);
  const stage = Stage.started(puppet);
  stage.stream().requestHead();
  return { status: stage.status(call), stage };
}

describe("match_regex", () => {
  test("does not compile what is too large", () => {
    const { status, stage } = matched("a{1000}".repeat(500), "aaa");
    assert.equal(status, Status.BAD_ARGUMENT);
    assert.ok(stage.log.lines.some((line) => line.includes("expression: too large once its repetitions")));
  });

  test("takes fuel for each byte by the expression's size", () => {
    assert.equal(matched("a*", "a".repeat(1000)).status, Status.OK);
    const { stage } = matched("((a?){30}){30}", "a".repeat(4000));
    assert.equal(stage.instance.failureReason, "out_of_fuel");
  });
});

test("expressions of CEL take steps for what they compile, and do not compile what is too large", () => {
  const steps = (regex: string): number => {
    const expression = new Expression(`'aaa'.matches('${regex}')`);
    expression.evaluate(() => undefined, MAX_EXPRESSION_STEPS);
    return expression.steps;
  };
  assert.ok(steps("(a{30}){30}") > 1800);
  assert.ok(steps("a{1000}".repeat(500)) < 5000);
  assert.ok(new Expression("'aaa'.matches('a{3}')").evaluate(() => undefined, MAX_EXPRESSION_STEPS) === true);
});
