/** PROXY headers of both versions: right, wrong, cut at every byte, and anything else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { httpVersion } from "../../runtime/listener/http-inspector.ts";
import { readProxyHeader } from "../../runtime/listener/proxy-header.ts";
import { fc } from "../properties.ts";
import { number, vector } from "./hellos.ts";

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");

/** A header of version 2 by its command, family and content. */
export function version2(command: number, family: number, ...content: readonly Buffer[]): Buffer {
  return Buffer.concat([SIGNATURE, Buffer.of(command, family), vector(2, ...content)]);
}

const V4 = Buffer.concat([Buffer.of(10, 0, 0, 1, 10, 0, 0, 2), number(1000, 2), number(443, 2)]);
const V6 = Buffer.concat([
  Buffer.from("20010db8000000000000000000000001", "hex"),
  Buffer.from("00000000000000000000ffff0a000002", "hex"),
  number(1, 2),
  number(65_535, 2),
]);
const FIELDS = Buffer.concat([Buffer.of(0xea), vector(2, Buffer.from("vpc-1")), Buffer.of(4), vector(2)]);

const at = (ip: string, port: number): { ip: string; port: number } => ({ ip, port });

/** Bytes of a header, where it comes from and goes to. */
const GOOD: readonly (readonly [string, Buffer, unknown, unknown])[] = [
  ["TCP4", Buffer.from("PROXY TCP4 10.0.0.1 10.0.0.2 1000 443\r\n"), at("10.0.0.1", 1000), at("10.0.0.2", 443)],
  ["TCP6", Buffer.from("PROXY TCP6 2001:DB8:0::1 ::1 0 65535\r\n"), at("2001:db8::1", 0), at("::1", 65_535)],
  ["UNKNOWN", Buffer.from("PROXY UNKNOWN\r\n"), null, null],
  ["UNKNOWN with anything behind it", Buffer.from("PROXY UNKNOWN ffff::1 2 three\r\n"), null, null],
  ["IPv4", version2(0x21, 0x11, V4), at("10.0.0.1", 1000), at("10.0.0.2", 443)],
  ["IPv6 with fields", version2(0x21, 0x21, V6, FIELDS), at("2001:db8::1", 1), at("::ffff:a00:2", 65_535)],
  ["a unix socket", version2(0x21, 0x31, Buffer.alloc(216)), null, null],
  ["no family", version2(0x21, 0x00, FIELDS), null, null],
  ["local", version2(0x20, 0x00), null, null],
  ["local with something behind it", version2(0x20, 0x99, Buffer.alloc(7)), null, null],
];

for (const [name, bytes, source, destination] of GOOD) {
  test(`a header, cut at every byte: ${name}`, () => {
    for (let end = 0; end < bytes.length; end++)
      assert.deepEqual(readProxyHeader(bytes.subarray(0, end)), { kind: "more" }, `${end} bytes`);
    const answer = readProxyHeader(Buffer.concat([bytes, Buffer.from("GET / HTTP/1.1")]));
    assert.ok(answer.kind === "found");
    assert.deepEqual(
      [answer.header.bytes, answer.header.source, answer.header.destination],
      [bytes.length, source, destination],
    );
  });
}

test("fields of version 2", () => {
  const answer = readProxyHeader(version2(0x21, 0x21, V6, FIELDS));
  assert.ok(answer.kind === "found");
  assert.deepEqual(
    answer.header.fields.map(({ type, value }) => [type, value.toString()]),
    [
      [0xea, "vpc-1"],
      [4, ""],
    ],
  );
});

test("headers that are wrong, and none", () => {
  const cases: readonly (readonly [string | Buffer, string])[] = [
    ["PROXY TCP5 10.0.0.1 10.0.0.2 1 2\r\n", "bad"],
    ["PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n", "bad"],
    ["PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n", "bad"],
    ["PROXY TCP4 ::1 ::1 1 2\r\n", "bad"],
    ["PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n", "bad"],
    ["PROXY TCP4 10.0.0.1 10.0.0.256 1 2\r\n", "bad"],
    ["PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n", "bad"],
    ["PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n", "bad"],
    ["PROXY TCP4 10.0.0.1 10.0.0.2 -1 2\r\n", "bad"],
    ["PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "bad"],
    ["PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n", "more"],
    [`PROXY ${"x".repeat(101)}`, "bad"],
    [`PROXY UNKNOWN ${"x".repeat(100)}\r\n`, "bad"],
    ["proxy TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "none"],
    ["GET / HTTP/1.1\r\n", "none"],
    ["\r\n\r\n\0\r\nQUIX", "none"],
    [version2(0x11, 0x11, V4), "bad"],
    [version2(0x22, 0x11, V4), "bad"],
    [version2(0x21, 0x12, V4), "bad"],
    [version2(0x21, 0x41, V4), "bad"],
    [version2(0x21, 0x11, V4.subarray(1)), "bad"],
    [version2(0x21, 0x11, V4, Buffer.of(1, 0)), "bad"],
    [version2(0x21, 0x11, V4, Buffer.of(1, 0, 2, 0)), "bad"],
    [Buffer.concat([SIGNATURE, Buffer.of(0x31)]), "bad"],
  ];
  for (const [bytes, kind] of cases)
    assert.equal(readProxyHeader(Buffer.from(bytes)).kind, kind, JSON.stringify(bytes));
});

test("any bytes have an answer; one that is given stays when more comes", () => {
  const stays = (bytes: Buffer, end: number): void => {
    const early = readProxyHeader(bytes.subarray(0, end));
    const late = readProxyHeader(bytes);
    if (early.kind !== "more") assert.equal(early.kind, late.kind);
    const http = httpVersion(bytes.subarray(0, end));
    if (http !== undefined) assert.equal(httpVersion(bytes), http);
  };
  const starts = [
    Buffer.alloc(0),
    SIGNATURE,
    Buffer.from("PROXY "),
    version2(0x21, 0x11).subarray(0, 14),
    Buffer.from("PRI * HTTP/2"),
    Buffer.from("GET /"),
  ];
  fc.assert(
    fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 130 }), fc.nat(150), (start, rest, end) =>
      stays(Buffer.concat([start, Buffer.from(rest)]), end),
    ),
    { numRuns: 5000 },
  );
  for (const [, good] of GOOD.map(([name, bytes]) => [name, bytes] as const)) {
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (place, value, end) => {
        const bent = Buffer.from(good);
        bent[place] = value;
        stays(bent, end);
      }),
      { numRuns: 300 },
    );
  }
});

test("the first line of HTTP, cut at every byte", () => {
  const cases: readonly (readonly [string, ReturnType<typeof httpVersion>])[] = [
    ["GET / HTTP/1.1\r\n", "http/1.1"],
    ["GET / HTTP/1.0\n", "http/1.0"],
    ["M-SEARCH * HTTP/1.1\r\n", "http/1.1"],
    ["CONNECT a:1 HTTP/1.1\r\n", "http/1.1"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2c"],
  ];
  for (const [text, version] of cases) {
    const bytes = Buffer.from(text);
    for (let end = 0; end < bytes.length; end++)
      assert.equal(httpVersion(bytes.subarray(0, end)), undefined, `${text} ${end}`);
    assert.equal(httpVersion(bytes), version);
  }
  const none = [
    "GET / HTTP/2.0\r\n",
    "GET /\r\n",
    "GET  / HTTP/1.1\r\n",
    "SSH-2.0-OpenSSH\r\n",
    "*1\r\n$4\r\n",
    "\x16\x03\x01",
    "get key\r\n",
    "x".repeat(25),
    " ",
  ];
  for (const text of none) assert.equal(httpVersion(Buffer.from(text, "latin1")), "", text);
  assert.equal(httpVersion(Buffer.from(`GET /${"x".repeat(8187)}`)), "");
  assert.equal(httpVersion(Buffer.from(`GET /${"x".repeat(8000)}`)), undefined);
});
