import assert from "node:assert/strict";
import { test } from "node:test";
import { H1Errors } from "../../runtime/codec/h1-errors.ts";
import { RequestParser } from "../../runtime/codec/h1-request-parser.ts";
import { malformedRequests } from "./malformed-requests.ts";
import { bytes, recordRequests, splits } from "./record.ts";

const bodies = new Map([
  [400, "Bad Request"],
  [431, "Request Header Fields Too Large"],
  [501, "Not Implemented"],
  [505, "HTTP Version Not Supported"],
]);

test("every malformed request gets its exact answer", async (t) => {
  assert.ok(malformedRequests.length >= 70);
  assert.equal(new Set(malformedRequests.map((row) => row.name)).size, malformedRequests.length);
  for (const row of malformedRequests) {
    await t.test(row.name, () => {
      const { error, messages } = recordRequests([bytes(row.text)], row.options);
      assert.equal(error?.code, row.error.code);
      assert.equal(error, row.error);
      assert.equal(error?.status, row.status);
      assert.equal(error?.details, row.details);
      assert.equal(error?.body, bodies.get(row.status));
      for (const message of messages) assert.ok(!message.fields.includes("/smuggled"), "a smuggled request was seen");
    });
  }
});

test("a malformed request is answered the same however it is cut", () => {
  for (const row of malformedRequests) {
    const whole = recordRequests([bytes(row.text)], row.options);
    const ways = row.text.length < 1000 ? splits(row.text) : splits(row.text).filter((_, at) => at % 6131 === 1);
    for (const way of ways) {
      const cut = recordRequests(way, row.options);
      assert.equal(cut.error?.code, whole.error?.code, `${row.name}, cut after ${way[0]!.length}`);
      assert.deepEqual(cut.messages, whole.messages, `${row.name}, cut after ${way[0]!.length}`);
    }
  }
});

test("an error stays: nothing after it is read", () => {
  let heads = 0;
  const parser = new RequestParser({
    onRequestHead() {
      heads++;
    },
    onRequestData() {},
    onRequestTrailers() {},
  });
  assert.equal(parser.execute(bytes("GET / HTTP/1.1\n")), H1Errors.LINE_TERMINATOR);
  assert.equal(parser.execute(bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n")), H1Errors.LINE_TERMINATOR);
  assert.equal(parser.next(), H1Errors.LINE_TERMINATOR);
  assert.equal(parser.resume(), H1Errors.LINE_TERMINATOR);
  assert.equal(parser.finish(), H1Errors.LINE_TERMINATOR);
  assert.equal(heads, 0);
  parser.reset();
  assert.equal(parser.execute(bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n")), null);
  assert.equal(heads, 1);
});

test("the bytes of an HTTP/2 preface are all handed over, however they came", () => {
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest";
  for (const way of splits(preface)) {
    const parser = new RequestParser({ onRequestHead() {}, onRequestData() {}, onRequestTrailers() {} });
    let used = 0;
    for (const chunk of way) {
      used += chunk.length;
      if (parser.execute(chunk) !== null) break;
    }
    assert.equal(parser.finish(), H1Errors.HTTP2_PREFACE);
    assert.equal(parser.takePending().latin1Slice(), preface.slice(0, used));
  }
});
