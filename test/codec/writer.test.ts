import assert from "node:assert/strict";
import { test } from "node:test";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import {
  chunkHead,
  LAST_CHUNK,
  RequestEncoder,
  ResponseEncoder,
  trailersText,
  WriteFlag,
} from "../../runtime/codec/h1-writer.ts";
import { fc } from "../properties.ts";
import { bytes, recordRequests, recordResponse } from "./record.ts";

const pseudo = (method: string, path = "/", authority = "a"): string[] => [
  ":authority",
  authority,
  ":path",
  path,
  ":method",
  method,
  ":scheme",
  "http",
];

function request(list: string[], endStream: boolean, upgrade = false): string {
  return new RequestEncoder().head(new HeaderMap(list), endStream, upgrade);
}

test("request heads", () => {
  assert.equal(
    request([...pseudo("GET", "/x?y"), "accept", "*/*"], true),
    "GET /x?y HTTP/1.1\r\nhost: a\r\naccept: */*\r\n\r\n",
  );
  assert.equal(request(pseudo("POST"), true), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
  assert.equal(request(pseudo("DELETE"), true), "DELETE / HTTP/1.1\r\nhost: a\r\n\r\n");
  assert.equal(request(pseudo("PUT"), false), "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
  assert.equal(
    request([...pseudo("PUT"), "content-length", "5"], false),
    "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n",
  );
  assert.equal(request(pseudo("OPTIONS", "*"), true), "OPTIONS * HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
  assert.equal(request(pseudo("CONNECT", "", "b:443"), false), "CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n");
  assert.equal(
    request([...pseudo("GET"), "upgrade", "websocket", "connection", "upgrade"], true, true),
    "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
  );
});

test("fields that are the codec's own are never copied from a map", () => {
  const own = [
    "host",
    "b",
    "connection",
    "close",
    "keep-alive",
    "x",
    "proxy-connection",
    "x",
    "transfer-encoding",
    "gzip",
    "upgrade",
    "h2c",
    "te",
    "gzip",
    ":status",
    "200",
  ];
  assert.equal(request([...pseudo("GET"), ...own], true), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  assert.equal(
    request([...pseudo("GET"), "te", "trailers"], true),
    "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n",
  );
});

test("names in capitals, or with a colon, slip nothing past the codec", () => {
  const tricks = [
    "Transfer-Encoding",
    "gzip",
    "CONTENT-LENGTH",
    "5",
    "Connection",
    "close",
    "transfer-encoding: chunked",
    "",
    "x: y",
    "z",
    "Host",
    "b",
    "X-A",
    "1",
  ];
  assert.equal(request([...pseudo("GET"), ...tricks], true), "GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n\r\n");
  // The Kelvin sign is no letter k of ours.
  assert.equal(request([...pseudo("GET"), "\u212aeep", "1"], true), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
});

test("what cannot stand in a request line is refused", () => {
  for (const list of [
    pseudo("GET", "/a b"),
    pseudo("GET", "/a\r\nX: y"),
    pseudo("GET", "a"),
    pseudo("GET", ""),
    pseudo("GET", "/\u010a"),
    pseudo("GET", "/#f"),
    pseudo("GET", "*"),
    pseudo("GE T"),
    pseudo(""),
    pseudo("GET\r\n"),
    pseudo("GET", "/", "a\r\nX: y"),
    pseudo("GET", "/", "a b"),
    pseudo("CONNECT", "", ""),
  ]) {
    assert.equal(request(list, true), "", JSON.stringify(list));
  }
  const encoder = new RequestEncoder();
  assert.notEqual(encoder.head(new HeaderMap(pseudo("GET", "/ok")), true), "");
  assert.equal(encoder.head(new HeaderMap(pseudo("GET", "/not ok")), true), "");
  assert.equal(encoder.head(new HeaderMap(pseudo("GET", "/ok")), true), "GET /ok HTTP/1.1\r\nhost: a\r\n\r\n");
});

test("a length that is not one number is not written", () => {
  for (const value of ["x", "-1", "1, 1", "", "9007199254740992", "1\r\nX: y"]) {
    assert.equal(
      request([...pseudo("PUT"), "content-length", value], false),
      "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
    );
  }
  assert.equal(
    request([...pseudo("PUT"), "content-length", "3", "content-length", "4"], false),
    "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n",
  );
  assert.equal(
    request([...pseudo("GET"), "content-length", "5"], true),
    "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
  );
});

const responseRows: [
  name: string,
  status: number,
  list: string[],
  endStream: boolean,
  flags: number,
  head: string,
  chunked: boolean,
  closeAfter: boolean,
][] = [
  [
    "length kept",
    200,
    ["content-length", "5", "server", "x"],
    false,
    0,
    "HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length: 5\r\n\r\n",
    false,
    false,
  ],
  ["length unknown", 200, [], false, 0, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", true, false],
  ["no body", 404, [], true, 0, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false, false],
  [
    "no body but a length",
    200,
    ["content-length", "7"],
    true,
    0,
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    false,
    false,
  ],
  [
    "HEAD",
    200,
    ["content-length", "5"],
    true,
    WriteFlag.HEAD,
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    false,
    false,
  ],
  ["HEAD without length", 200, [], true, WriteFlag.HEAD, "HTTP/1.1 200 OK\r\n\r\n", false, false],
  ["204", 204, ["content-length", "5"], true, 0, "HTTP/1.1 204 No Content\r\n\r\n", false, false],
  [
    "304",
    304,
    ["content-length", "5"],
    true,
    0,
    "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    false,
    false,
  ],
  ["304 without length", 304, [], true, 0, "HTTP/1.1 304 Not Modified\r\n\r\n", false, false],
  ["100", 100, [], true, 0, "HTTP/1.1 100 Continue\r\n\r\n", false, false],
  ["103", 103, ["link", "a"], true, WriteFlag.CLOSE, "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n", false, false],
  [
    "101",
    101,
    ["upgrade", "a", "connection", "x"],
    false,
    WriteFlag.UPGRADE,
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\nconnection: upgrade\r\n\r\n",
    false,
    true,
  ],
  [
    "close",
    200,
    ["content-length", "5"],
    false,
    WriteFlag.CLOSE,
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
    false,
    true,
  ],
  [
    "HTTP/1.0",
    200,
    ["content-length", "5"],
    false,
    WriteFlag.HTTP_1_0,
    "HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n",
    false,
    false,
  ],
  [
    "HTTP/1.0, length unknown",
    200,
    [],
    false,
    WriteFlag.HTTP_1_0,
    "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n",
    false,
    true,
  ],
  ["unregistered status", 299, [], true, 0, "HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n", false, false],
  [
    "pseudo-header not written",
    200,
    [":status", "200"],
    true,
    0,
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    false,
    false,
  ],
];

test("response heads", () => {
  const encoder = new ResponseEncoder();
  for (const [name, status, list, endStream, flags, head, chunked, closeAfter] of responseRows) {
    assert.equal(encoder.head(status, new HeaderMap(list), endStream, flags), head, name);
    assert.equal(encoder.chunked, chunked, name);
    if (status >= 200 || status === 101) assert.equal(encoder.closeAfter, closeAfter, name);
  }
});

test("no body may be longer than its Content-Length", () => {
  const encoder = new RequestEncoder();
  encoder.head(new HeaderMap([...pseudo("PUT"), "content-length", "5"]), false);
  assert.equal(encoder.complete, false);
  assert.equal(encoder.admit(3), true);
  assert.equal(encoder.admit(3), false);
  assert.equal(encoder.complete, false);
  assert.equal(encoder.admit(2), true);
  assert.equal(encoder.complete, true);
  assert.equal(encoder.admit(1), false);
  encoder.head(new HeaderMap(pseudo("PUT")), false);
  assert.equal(encoder.admit(1_000_000), true);
  encoder.head(new HeaderMap(pseudo("GET")), true);
  assert.equal(encoder.admit(1), false);
  assert.equal(encoder.complete, true);
});

test("chunk framing and trailers", () => {
  assert.equal(chunkHead(26), "1a\r\n");
  assert.equal(LAST_CHUNK, "0\r\n\r\n");
  assert.equal(
    trailersText(
      new HeaderMap([
        "grpc-status",
        "0",
        "content-length",
        "5",
        "transfer-encoding",
        "chunked",
        "x",
        "a\r\nb",
        "y: z",
        "1",
      ]),
    ),
    "0\r\ngrpc-status: 0\r\nx: a  b\r\n\r\n",
  );
});

/** Strings that a hostile guest might put into a header: everything, with line ends and truncation tricks often. */
const hostileName = fc.oneof(
  fc.constantFrom(
    "Transfer-Encoding",
    "Content-Length",
    "content-length",
    "transfer-encoding",
    "HOST",
    "x: y",
    "connection",
  ),
  fc.constantFrom("transfer-encoding: chunked", "content-length: 3", "Content-length:", "upgrade", "Upgrade"),
);
const hostile = fc.string({
  unit: fc.oneof(
    fc.constantFrom("\r", "\n", "\0", "\r\n", "\u010a", "\u010d", ":", " ", "a", "\x7f", "\x85"),
    fc.string({ unit: "binary", maxLength: 2 }),
  ),
  maxLength: 12,
});

test("property: whatever stands in a map, one head is written, and it parses back to one message", () => {
  const encoder = new ResponseEncoder();
  const requests = new RequestEncoder();
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.oneof(hostile, hostileName), fc.oneof(hostile, fc.constantFrom("chunked", "3"))), {
        maxLength: 6,
      }),
      fc.boolean(),
      (pairs, endStream) => {
        const list = pairs.flat();
        // Written as the socket does it: each character cut down to one byte.
        const head = bytes(encoder.head(200, new HeaderMap(list), endStream, 0)).latin1Slice();
        assert.equal(head.indexOf("\r\n\r\n"), head.length - 4);
        const said = recordResponse([bytes(head + (encoder.chunked ? LAST_CHUNK : ""))]);
        if (encoder.complete || encoder.chunked) assert.equal(said.error, null, JSON.stringify(head));
        assert.equal(said.messages.length, 1);
        const text = bytes(requests.head(new HeaderMap([...pseudo("POST"), ...list]), endStream)).latin1Slice();
        if (text === "") return;
        assert.equal(text.indexOf("\r\n\r\n"), text.length - 4);
        assert.doesNotMatch(text.replaceAll("\r\n", ""), /[\r\n\0]/);
        assert.equal(recordRequests([bytes(text + (requests.chunked ? LAST_CHUNK : ""))]).messages.length, 1);
      },
    ),
    { numRuns: 2000 },
  );
});

const name = fc
  .stringMatching(/^[a-z][a-z0-9-]{0,20}$/)
  .filter(
    (text) =>
      !/^(host|connection|keep-alive|proxy-connection|transfer-encoding|te|upgrade|expect|content-length|http2-settings)$/.test(
        text,
      ),
  );
const value = fc.stringMatching(/^[!-~\x80-\xff]([ -~\x80-\xff\t]{0,40}[!-~\x80-\xff])?$/);
const path = fc.stringMatching(/^\/[!-"$-~]{0,30}$/);

test("property: what is written is read back, requests and responses, on encoders and parsers that remember", () => {
  const requests = new RequestEncoder();
  const responses = new ResponseEncoder();
  const part = fc.array(fc.tuple(name, value), { maxLength: 8 });
  fc.assert(
    fc.property(
      part,
      part,
      path,
      fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 4 }),
      (fields, trailers, target, pieces) => {
        const list = [...pseudo("POST", target), ...fields.flat()];
        let text = requests.head(new HeaderMap(list), false);
        assert.equal(requests.chunked, true);
        const body = pieces.map((piece) => bytes(piece).latin1Slice());
        const tail = trailers.length > 0 ? trailersText(new HeaderMap(trailers.flat())) : LAST_CHUNK;
        const rest = body.map((piece) => `${chunkHead(piece.length)}${piece}\r\n`).join("") + tail;
        text += rest;
        // Twice on one connection, so that the second head is recognised instead of parsed.
        const said = recordRequests([bytes(text), bytes(text)]);
        assert.equal(said.error ?? said.end, null);
        assert.equal(said.messages.length, 2);
        for (const message of said.messages) {
          assert.deepEqual(message.fields, list);
          assert.equal(message.body, body.join(""));
        }
        const answer = responses.head(200, new HeaderMap([":status", "200", ...fields.flat()]), false, 0) + rest;
        const heard = recordResponse([bytes(answer)]);
        assert.equal(heard.error ?? heard.end, null);
        assert.deepEqual(heard.messages[0]?.fields, [":status", "200", ...fields.flat()]);
        assert.equal(heard.messages[0]?.body, body.join(""));
      },
    ),
    { numRuns: 500 },
  );
});

test("property: any cut of any message gives the same events", () => {
  fc.assert(
    fc.property(part2(), fc.array(fc.nat({ max: 400 }), { maxLength: 6 }), (text, cuts) => {
      const all = bytes(text);
      const edges = [0, ...cuts.map((at) => Math.min(at, all.length)).sort((a, b) => a - b), all.length];
      const chunks = edges.slice(1).map((to, at) => all.subarray(edges[at], to));
      assert.deepEqual(recordRequests(chunks), recordRequests([all]));
    }),
    { numRuns: 2000 },
  );
});

/** Texts near to a request, many of them broken. */
function part2(): fc.Arbitrary<string> {
  const piece = fc.constantFrom(
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "Host: a\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n",
    "abc",
    "3\r\nabc\r\n",
    "0\r\n",
    "X: y\r\n",
    "Connection: close\r\n",
    "\n",
    "\r",
    " ",
    "X : y\r\n",
    "\0",
  );
  return fc
    .array(piece, { minLength: 3, maxLength: 14 })
    .map((pieces) => `GET / HTTP/1.1\r\nHost: a\r\n\r\n${pieces.join("")}`);
}
