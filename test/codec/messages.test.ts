import assert from "node:assert/strict";
import { test } from "node:test";
import { H1Errors } from "../../runtime/codec/h1-errors.ts";
import { RequestParser } from "../../runtime/codec/h1-request-parser.ts";
import { ResponseParser } from "../../runtime/codec/h1-response-parser.ts";
import { Progress, Scan, scanSection } from "../../runtime/codec/h1-section.ts";
import { bytes, recordRequests, recordResponse, splits, type Message, type Recording } from "./record.ts";

const H = "Host: a\r\n";

function pseudo(method: string, path: string, authority = "a", scheme = "http"): string[] {
  return [":authority", authority, ":path", path, ":method", method, ":scheme", scheme];
}

/** What is expected of a whole message; what is left out is empty. */
type Want = Partial<Message>;

const requestRows: [name: string, text: string, want: Want[]][] = [
  [
    "GET",
    `GET /a?b HTTP/1.1\r\n${H}Accept: */*\r\n\r\n`,
    [{ fields: [...pseudo("GET", "/a?b"), "accept", "*/*"], flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "names in lower case, values trimmed, duplicates kept",
    `GET / HTTP/1.1\r\n${H}X-A: \t 1 2 \t\r\nx-a:3\r\nX-Empty:\r\nX-Latin: \xe9\r\n\r\n`,
    [
      {
        fields: [...pseudo("GET", "/"), "x-a", "1 2", "x-a", "3", "x-empty", "", "x-latin", "\xe9"],
        flags: ["END_STREAM", "KEEP_ALIVE"],
      },
    ],
  ],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", [{ fields: pseudo("GET", "/", ""), flags: ["END_STREAM", "KEEP_ALIVE"] }]],
  [
    "empty lines before",
    `\r\n\r\nGET / HTTP/1.1\r\n${H}\r\n`,
    [{ fields: pseudo("GET", "/"), flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  ["HTTP/1.0", `GET / HTTP/1.0\r\n${H}\r\n`, [{ fields: pseudo("GET", "/"), flags: ["END_STREAM", "HTTP_1_0"] }]],
  [
    "HTTP/1.0 kept alive",
    `GET / HTTP/1.0\r\n${H}Connection: Keep-Alive\r\n\r\n`,
    [{ fields: pseudo("GET", "/"), flags: ["END_STREAM", "KEEP_ALIVE", "HTTP_1_0"] }],
  ],
  [
    "close wins over keep-alive",
    `GET / HTTP/1.0\r\n${H}Connection: keep-alive, close\r\n\r\n`,
    [{ fields: pseudo("GET", "/"), flags: ["END_STREAM", "HTTP_1_0"] }],
  ],
  ["close", `GET / HTTP/1.1\r\n${H}Connection: close\r\n\r\n`, [{ fields: pseudo("GET", "/"), flags: ["END_STREAM"] }]],
  [
    "Proxy-Connection: close",
    `GET / HTTP/1.1\r\n${H}Proxy-Connection: close\r\n\r\n`,
    [{ fields: pseudo("GET", "/"), flags: ["END_STREAM"] }],
  ],
  [
    "hop-by-hop fields",
    `GET / HTTP/1.1\r\n${H}Connection: x-a, TE\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip, trailers;q=0.5\r\nX-B: 2\r\n\r\n`,
    [{ fields: [...pseudo("GET", "/"), "te", "trailers", "x-b", "2"], flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "nominated before it is named",
    `GET / HTTP/1.1\r\nX-A: 1\r\n${H}X-B: 2\r\nConnection: X-A\r\nX-A: 3\r\n\r\n`,
    [{ fields: [...pseudo("GET", "/"), "x-b", "2"], flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "TE without trailers",
    `GET / HTTP/1.1\r\n${H}TE: gzip\r\n\r\n`,
    [{ fields: pseudo("GET", "/"), flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "expect",
    `POST / HTTP/1.1\r\n${H}Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nok`,
    [{ fields: [...pseudo("POST", "/"), "content-length", "2"], flags: ["KEEP_ALIVE", "EXPECT_CONTINUE"], body: "ok" }],
  ],
  [
    "expect on HTTP/1.0 is ignored",
    `POST / HTTP/1.0\r\n${H}Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok`,
    [{ fields: [...pseudo("POST", "/"), "content-length", "2"], flags: ["HTTP_1_0"], body: "ok" }],
  ],
  [
    "length 0",
    `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n`,
    [{ fields: [...pseudo("POST", "/"), "content-length", "0"], flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "length with zeros in front",
    `POST / HTTP/1.1\r\n${H}Content-Length: 002\r\n\r\nok`,
    [{ fields: [...pseudo("POST", "/"), "content-length", "2"], flags: ["KEEP_ALIVE"], body: "ok" }],
  ],
  [
    "chunked",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00A;x;y=z;q="a\\"b;"\r\n0123456789\r\n0\r\n\r\n`,
    [{ fields: pseudo("POST", "/"), flags: ["KEEP_ALIVE", "CHUNKED"], body: "hello0123456789" }],
  ],
  [
    "chunked, empty",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    [{ fields: pseudo("POST", "/"), flags: ["KEEP_ALIVE", "CHUNKED"] }],
  ],
  [
    "trailers",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0;x\r\nX-Sum: 1 \r\nContent-Length: 9\r\nHost: b\r\nx-t:2\r\n\r\n`,
    [
      {
        fields: pseudo("POST", "/"),
        flags: ["KEEP_ALIVE", "CHUNKED"],
        body: "ok",
        trailers: ["x-sum", "1", "x-t", "2"],
      },
    ],
  ],
  [
    "trailers that are all dropped",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n`,
    [{ fields: pseudo("POST", "/"), flags: ["KEEP_ALIVE", "CHUNKED"], body: "ok" }],
  ],
  [
    "absolute target replaces Host",
    `GET HTTP://B:81/x?y HTTP/1.1\r\n${H}\r\n`,
    [{ fields: pseudo("GET", "/x?y", "B:81"), flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "absolute target without path",
    "GET https://[::1]?y HTTP/1.1\r\n\r\n",
    [{ fields: pseudo("GET", "/?y", "[::1]", "https"), flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "OPTIONS *",
    `OPTIONS * HTTP/1.1\r\n${H}\r\n`,
    [{ fields: pseudo("OPTIONS", "*"), flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "CONNECT",
    `CONNECT b:443 HTTP/1.1\r\n${H}\r\n\x16\x03`,
    [{ fields: pseudo("CONNECT", "", "b:443"), flags: ["END_STREAM", "KEEP_ALIVE", "UPGRADE"] }],
  ],
  [
    "upgrade",
    `GET / HTTP/1.1\r\n${H}Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\0\0`,
    [
      {
        fields: [...pseudo("GET", "/"), "upgrade", "websocket", "connection", "upgrade"],
        flags: ["END_STREAM", "KEEP_ALIVE", "UPGRADE"],
      },
    ],
  ],
  [
    "upgrade that Connection does not name",
    `GET / HTTP/1.1\r\n${H}Upgrade: websocket\r\n\r\n`,
    [{ fields: pseudo("GET", "/"), flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "upgrade to h2c",
    `GET / HTTP/1.1\r\n${H}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n`,
    [{ fields: pseudo("GET", "/"), flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "upgrade on HTTP/1.0",
    `GET / HTTP/1.0\r\n${H}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    [{ fields: pseudo("GET", "/"), flags: ["END_STREAM", "HTTP_1_0"] }],
  ],
  [
    "upgrade with a body",
    `POST / HTTP/1.1\r\n${H}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok`,
    [{ fields: [...pseudo("POST", "/"), "content-length", "2"], flags: ["KEEP_ALIVE"], body: "ok" }],
  ],
  [
    "any token is a method",
    `X-Y!z / HTTP/1.1\r\n${H}\r\n`,
    [{ fields: pseudo("X-Y!z", "/"), flags: ["END_STREAM", "KEEP_ALIVE"] }],
  ],
  [
    "one hundred fields",
    `GET / HTTP/1.1\r\n${H}${"X: y\r\n".repeat(99)}\r\n`,
    [
      {
        fields: [...pseudo("GET", "/"), ...Array.from({ length: 99 }, () => ["x", "y"]).flat()],
        flags: ["END_STREAM", "KEEP_ALIVE"],
      },
    ],
  ],
  [
    "pipelining",
    `GET /1 HTTP/1.1\r\n${H}\r\nPOST /2 HTTP/1.1\r\n${H}Content-Length: 2\r\n\r\nokGET /1 HTTP/1.1\r\n${H}\r\nGET /3 HTTP/1.1\r\n${H}\r\n`,
    [
      { fields: pseudo("GET", "/1"), flags: ["END_STREAM", "KEEP_ALIVE"] },
      { fields: [...pseudo("POST", "/2"), "content-length", "2"], flags: ["KEEP_ALIVE"], body: "ok" },
      { fields: pseudo("GET", "/1"), flags: ["END_STREAM", "KEEP_ALIVE"] },
      { fields: pseudo("GET", "/3"), flags: ["END_STREAM", "KEEP_ALIVE"] },
    ],
  ],
  [
    "repeated fields with another version",
    `GET / HTTP/1.1\r\n${H}\r\nGET /2 HTTP/1.0\r\n${H}\r\n`,
    [
      { fields: pseudo("GET", "/"), flags: ["END_STREAM", "KEEP_ALIVE"] },
      { fields: pseudo("GET", "/2"), flags: ["END_STREAM", "HTTP_1_0"] },
    ],
  ],
  [
    "repeated fields with a body",
    `POST /1 HTTP/1.1\r\n${H}Content-Length: 1\r\n\r\naPOST /2 HTTP/1.1\r\n${H}Content-Length: 1\r\n\r\nb`,
    [
      { fields: [...pseudo("POST", "/1"), "content-length", "1"], flags: ["KEEP_ALIVE"], body: "a" },
      { fields: [...pseudo("POST", "/2"), "content-length", "1"], flags: ["KEEP_ALIVE"], body: "b" },
    ],
  ],
];

const responseRows: [name: string, text: string, want: Want, method?: string, upgrade?: boolean][] = [
  [
    "length",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    { status: 200, fields: [":status", "200", "content-length", "2"], flags: ["KEEP_ALIVE"], body: "ok" },
  ],
  [
    "no reason, no space",
    "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
    { status: 404, fields: [":status", "404", "content-length", "0"], flags: ["END_STREAM", "KEEP_ALIVE"] },
  ],
  [
    "until the end",
    "HTTP/1.1 200 OK\r\n\r\nhello",
    { status: 200, fields: [":status", "200"], flags: ["CLOSE_DELIMITED"], body: "hello" },
  ],
  [
    "HTTP/1.0 until the end",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello",
    { status: 200, fields: [":status", "200"], flags: ["HTTP_1_0", "CLOSE_DELIMITED"], body: "hello" },
  ],
  [
    "HTTP/1.0 kept alive",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    { status: 200, fields: [":status", "200", "content-length", "2"], flags: ["KEEP_ALIVE", "HTTP_1_0"], body: "ok" },
  ],
  [
    "chunked with trailers",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
    {
      status: 200,
      fields: [":status", "200", "trailer", "x"],
      flags: ["KEEP_ALIVE", "CHUNKED"],
      body: "ok",
      trailers: ["x", "y"],
    },
  ],
  [
    "HEAD",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    { status: 200, fields: [":status", "200", "content-length", "5"], flags: ["END_STREAM", "KEEP_ALIVE"] },
    "HEAD",
  ],
  [
    "HEAD, chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    { status: 200, fields: [":status", "200"], flags: ["END_STREAM", "KEEP_ALIVE"] },
    "HEAD",
  ],
  [
    "204",
    "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    { status: 204, fields: [":status", "204"], flags: ["END_STREAM", "KEEP_ALIVE"] },
  ],
  [
    "304",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    { status: 304, fields: [":status", "304", "content-length", "5"], flags: ["END_STREAM", "KEEP_ALIVE"] },
  ],
  [
    "after 100 and 103",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    { status: 200, fields: [":status", "200", "content-length", "0"], flags: ["END_STREAM", "KEEP_ALIVE"] },
  ],
  [
    "101",
    "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\nHTTP/1.1 raw",
    {
      status: 101,
      fields: [":status", "101", "upgrade", "a", "connection", "upgrade"],
      flags: ["UPGRADE", "CLOSE_DELIMITED"],
      body: "HTTP/1.1 raw",
    },
    "GET",
    true,
  ],
  [
    "CONNECT",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nraw bytes",
    {
      status: 200,
      fields: [":status", "200", "content-length", "3"],
      flags: ["UPGRADE", "CLOSE_DELIMITED"],
      body: "raw bytes",
    },
    "CONNECT",
  ],
  [
    "hop-by-hop fields",
    "HTTP/1.1 200 OK\r\nConnection: close, x-a\r\nX-A: 1\r\nKeep-Alive: x\r\nUpgrade: h3\r\nContent-Length: 0\r\n\r\n",
    { status: 200, fields: [":status", "200", "content-length", "0"], flags: ["END_STREAM"] },
  ],
  [
    "status 999",
    "HTTP/1.1 999 \xe9\t!\r\nContent-Length: 0\r\n\r\n",
    { status: 999, fields: [":status", "999", "content-length", "0"], flags: ["END_STREAM", "KEEP_ALIVE"] },
  ],
];

function check(said: Recording, want: Want[], name: string): void {
  assert.equal(said.error, null, name);
  assert.deepEqual(
    said.messages,
    want.map((one) => ({ status: 0, fields: [], flags: [], body: "", ended: true, trailers: null, ...one })),
    name,
  );
}

test("requests", async (t) => {
  for (const [name, text, want] of requestRows) {
    await t.test(name, () => {
      const said = recordRequests([bytes(text)]);
      check(said, want, name);
      assert.equal(said.end, null);
      for (const way of splits(text)) check(recordRequests(way), want, `${name}, cut after ${way[0]!.length}`);
    });
  }
});

test("responses", async (t) => {
  for (const [name, text, want, method, upgrade] of responseRows) {
    await t.test(name, () => {
      const said = recordResponse([bytes(text)], method, upgrade);
      check(said, [want], name);
      assert.equal(said.end, null);
      for (const way of splits(text)) {
        const cut = recordResponse(way, method, upgrade);
        check(cut, [want], `${name}, cut after ${way[0]!.length}`);
        assert.deepEqual(cut.informational, said.informational);
      }
    });
  }
});

test("informational responses come one by one", () => {
  const text =
    "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 204 N\r\n\r\n";
  assert.deepEqual(recordResponse([bytes(text)]).informational, [
    { status: 100, fields: [":status", "100"] },
    { status: 103, fields: [":status", "103", "link", "a"] },
  ]);
});

test("options: underscores dropped, scheme, limits at their edge", () => {
  const text = `GET / HTTP/1.1\r\n${H}X_A: 1\r\nx-b: 2\r\n\r\n`;
  const said = recordRequests([bytes(text)], {
    underscores: "DROP_HEADER",
    scheme: "https",
    maxHeadBytes: text.length,
    maxHeaders: 3,
  });
  assert.equal(said.error, null);
  assert.deepEqual(said.messages[0]?.fields, [...pseudo("GET", "/", "a", "https"), "x-b", "2"]);
  assert.equal(recordRequests([bytes(text)], { maxHeadBytes: text.length - 1 }).error, H1Errors.HEADERS_TOO_LARGE);
  assert.equal(recordRequests([bytes(text)], { maxHeaders: 2 }).error, H1Errors.TOO_MANY_HEADERS);
});

test("a map handed out belongs to the sink: changing it changes no later message", () => {
  const lists: string[][] = [];
  const parser = new RequestParser({
    onRequestHead(headers) {
      lists.push(headers.list.slice());
      headers.set(":path", "/changed");
      headers.add("x-guest", "1");
      headers.remove("accept");
    },
    onRequestData() {},
    onRequestTrailers() {},
  });
  for (let i = 0; i < 3; i++) {
    assert.equal(parser.execute(bytes(`GET / HTTP/1.1\r\n${H}Accept: x\r\n\r\n`)), null);
    parser.next();
  }
  for (const list of lists) assert.deepEqual(list, [...pseudo("GET", "/"), "accept", "x"]);
  assert.equal(lists.length, 3);
});

test("pausing stops at once and keeps the bytes; the chunk may be overwritten meanwhile", () => {
  const events: string[] = [];
  const parser = new RequestParser({
    onRequestHead(headers) {
      events.push(headers.get(":path")!);
      parser.paused = true;
    },
    onRequestData(chunk, endStream) {
      events.push(`${chunk.latin1Slice()}${endStream ? "." : ""}`);
      parser.paused = true;
    },
    onRequestTrailers() {},
  });
  const chunk = bytes(
    `POST /1 HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n${H}\r\n`,
  );
  parser.execute(chunk);
  chunk.fill(0);
  assert.deepEqual(events, ["/1"]);
  assert.ok(parser.pendingBytes > 0);
  parser.resume();
  assert.deepEqual(events, ["/1", "ab"]);
  parser.resume();
  assert.deepEqual(events, ["/1", "ab", "cd."]);
  parser.resume();
  parser.next();
  assert.deepEqual(events, ["/1", "ab", "cd.", "/2"]);
  assert.equal(parser.pendingBytes, 0);
  assert.equal(parser.finish(), null);
});

test("a message answered inside its own last call goes straight on to the next", () => {
  const paths: string[] = [];
  const parser: RequestParser = new RequestParser({
    onRequestHead(headers) {
      paths.push(headers.get(":path")!);
      parser.next();
    },
    onRequestData() {},
    onRequestTrailers() {},
  });
  assert.equal(
    parser.execute(bytes(Array.from({ length: 10_000 }, (_, i) => `GET /${i} HTTP/1.1\r\n${H}\r\n`).join(""))),
    null,
  );
  assert.equal(paths.length, 10_000);
  assert.equal(paths[9999], "/9999");
});

test("without next the second message waits", () => {
  let heads = 0;
  const parser = new RequestParser({ onRequestHead: () => void heads++, onRequestData() {}, onRequestTrailers() {} });
  parser.execute(bytes(`GET /1 HTTP/1.1\r\n${H}\r\nGET /2 HT`));
  parser.execute(bytes(`TP/1.1\r\n${H}\r\nGET /3`));
  assert.equal(heads, 1);
  parser.next();
  assert.equal(heads, 2);
  assert.equal(parser.headStarted, false);
  parser.next();
  assert.equal(parser.headStarted, true);
  assert.equal(parser.finish(), H1Errors.INCOMPLETE);
});

test("a body comes without a copy: the chunk itself, or a part of it", () => {
  const pieces: Buffer[] = [];
  const parser = new RequestParser({
    onRequestHead() {},
    onRequestData: (chunk) => void pieces.push(chunk),
    onRequestTrailers() {},
  });
  parser.execute(bytes(`POST / HTTP/1.1\r\n${H}Content-Length: 6\r\n\r\n`));
  const [one, two] = [bytes("abc"), bytes("defGET")];
  parser.execute(one);
  parser.execute(two);
  assert.equal(pieces[0], one);
  assert.equal(pieces[1]?.buffer, two.buffer);
  assert.equal(pieces[1]?.byteOffset, two.byteOffset);
  assert.equal(parser.pendingBytes, 3);
});

test("a head that comes byte by byte is scanned once", () => {
  const head = bytes(`GET / HTTP/1.1\r\n${H}X: ${"x".repeat(9000)}\r\n\r\n`);
  const progress = new Progress();
  for (let end = 1; end < head.length; end++) {
    assert.equal(scanSection(progress, head, 0, end, head.length, 10), Scan.MORE);
    assert.ok(progress.at >= end - 1, "the next scan goes on where this one ended");
  }
  assert.equal(scanSection(progress, head, 0, head.length, head.length, 10), head.length);
  assert.equal(progress.lines, 3);
});

test("response parser: one after the other, idle in between", () => {
  const seen: string[] = [];
  const parser = new ResponseParser({
    onInformational() {},
    onResponseHead: (status) => seen.push(String(status)),
    onResponseData: (chunk, endStream) => seen.push(`${chunk.latin1Slice()}${endStream ? "." : ""}`),
    onResponseTrailers() {},
  });
  assert.equal(parser.idle, true);
  for (let i = 0; i < 3; i++) {
    parser.expect("GET");
    assert.equal(parser.idle, false);
    assert.equal(parser.execute(bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")), null);
    assert.equal(parser.idle, false);
    assert.equal(parser.execute(bytes("k")), null);
    assert.equal(parser.idle, true);
  }
  assert.deepEqual(seen, ["200", "o", "k.", "200", "o", "k.", "200", "o", "k."]);
  assert.equal(parser.finish(), null);
});
