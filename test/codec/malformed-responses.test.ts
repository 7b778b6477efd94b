import assert from "node:assert/strict";
import { test } from "node:test";
import { H1Errors as E } from "../../runtime/codec/h1-errors.ts";
import { ResponseParser } from "../../runtime/codec/h1-response-parser.ts";
import { malformedResponses, OK } from "./malformed-responses.ts";
import { bytes, recordResponse, splits } from "./record.ts";

test("every malformed response has its exact error", async (t) => {
  assert.ok(malformedResponses.length >= 35);
  for (const [name, text, error, method, upgrade] of malformedResponses) {
    await t.test(name, () => {
      const said = recordResponse([bytes(text)], method, upgrade);
      assert.equal((said.error ?? said.end)?.code, error.code);
      assert.equal(said.error ?? said.end, error);
      assert.ok(said.messages.length <= 1, "a second response was seen");
    });
  }
});

test("a malformed response is judged the same however it is cut", () => {
  for (const [name, text, , method, upgrade] of malformedResponses) {
    const whole = recordResponse([bytes(text)], method, upgrade);
    const ways = splits(text).filter((_, at) => text.length < 1000 || at % 6131 === 1);
    for (const way of ways) {
      const cut = recordResponse(way, method, upgrade);
      assert.equal(
        (cut.error ?? cut.end)?.code,
        (whole.error ?? whole.end)?.code,
        `${name}, cut after ${way[0]?.length}`,
      );
      assert.deepEqual(cut.messages, whole.messages, `${name}, cut after ${way[0]?.length}`);
    }
  }
});

test("bytes that come before a response is expected are never taken for its answer", () => {
  const seen: number[] = [];
  const parser: ResponseParser = new ResponseParser({
    onInformational() {},
    onResponseHead: (status) => seen.push(status),
    // What an upstream connection does that sends the next request as soon as a response is whole.
    onResponseData: (_chunk, endStream) => void (endStream && parser.expect("GET")),
    onResponseTrailers() {},
  });
  parser.expect("GET");
  const error = parser.execute(
    bytes(`${OK}Content-Length: 2\r\n\r\nokHTTP/1.1 299 Injected\r\nContent-Length: 0\r\n\r\n`),
  );
  assert.equal(error, E.UNEXPECTED_RESPONSE);
  assert.deepEqual(seen, [200]);
  assert.equal(parser.idle, false);
  const idle = new ResponseParser({
    onInformational() {},
    onResponseHead() {},
    onResponseData() {},
    onResponseTrailers() {},
  });
  assert.equal(idle.idle, true);
  assert.equal(idle.execute(bytes("HTTP/1.1 408 Request Timeout\r\n\r\n")), E.UNEXPECTED_RESPONSE);
  assert.equal(idle.idle, false);
});
