/**
 * Nanoseconds for one head through the codec, for orientation: parse, write, both, and llhttp's head parse.
 * Run with `node test/bench/codec.ts`.
 */
import { createRequire } from "node:module";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { RequestSink, ResponseSink } from "../../runtime/codec/message.ts";
import { RequestParser } from "../../runtime/codec/h1-request-parser.ts";
import { ResponseParser } from "../../runtime/codec/h1-response-parser.ts";
import { RequestEncoder, ResponseEncoder } from "../../runtime/codec/h1-writer.ts";

const WRK = "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nUser-Agent: wrk/4.1.0\r\nAccept: */*\r\n\r\n";
const BROWSER = [
  "GET /app/data.json?page=12 HTTP/1.1",
  "Host: www.example.com",
  "Connection: keep-alive",
  'sec-ch-ua: "Chromium";v="142", "Not A(Brand";v="99"',
  "sec-ch-ua-mobile: ?0",
  'sec-ch-ua-platform: "Linux"',
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
  "Accept: application/json, text/plain, */*",
  "Sec-Fetch-Site: same-origin",
  "Sec-Fetch-Mode: cors",
  "Referer: https://www.example.com/app/",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
  "",
  "",
].join("\r\n");
const RESPONSE = [
  "HTTP/1.1 200 OK",
  "Server: nginx/1.26.3",
  "Date: Sun, 22 Nov 2026 21:30:00 GMT",
  "Content-Type: text/plain",
  "Content-Length: 5",
  "Connection: keep-alive",
  "",
  "hello",
].join("\r\n");

let last: HeaderMap = new HeaderMap();
const requestSink: RequestSink = {
  onRequestHead(headers) {
    last = headers;
  },
  onRequestData() {},
  onRequestTrailers() {},
};
const responseSink: ResponseSink = {
  onInformational() {},
  onResponseHead(_status, headers) {
    last = headers;
  },
  onResponseData() {},
  onResponseTrailers() {},
};

/** CPU nanoseconds of one call on this thread: best and median of the rounds, since other processes disturb caches. */
function measure(name: string, call: (round: number) => void): void {
  const rounds = 15;
  const calls = 100_000;
  const figures: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = process.threadCpuUsage();
    for (let i = 0; i < calls; i++) call(i);
    const used = process.threadCpuUsage(start);
    figures.push(((used.user + used.system) * 1000) / calls);
  }
  figures.sort((a, b) => a - b);
  console.log(
    `${name.padEnd(48)} ${figures[0]!.toFixed(0).padStart(6)} ns best, ${figures[rounds >> 1]!.toFixed(0).padStart(6)} ns median`,
  );
}

/** Two heads in turn that differ in their last field, so that nothing remembered as a whole is of use. */
function twins(head: string): Buffer[] {
  return ["a", "b"].map((tail) => Buffer.from(`${head.slice(0, -2)}X-Turn: ${tail}\r\n\r\n`, "latin1"));
}

const sinkhole = Buffer.alloc(4096);

for (const [name, head] of [
  ["wrk", WRK],
  ["browser", BROWSER],
] as const) {
  const same = Buffer.from(head, "latin1");
  const turns = twins(head);
  const parser = new RequestParser(requestSink);
  const encoder = new RequestEncoder();
  measure(`${name}: parse, head repeated`, () => {
    parser.execute(same);
    parser.next();
  });
  measure(`${name}: parse, heads in turn`, (i) => {
    parser.execute(turns[i & 1]!);
    parser.next();
  });
  const fixed = last.clone();
  measure(`${name}: write, same fields`, () => {
    sinkhole.latin1Write(encoder.head(fixed, true), 0);
  });
  measure(`${name}: parse + write, head repeated`, () => {
    parser.execute(same);
    parser.next();
    sinkhole.latin1Write(encoder.head(last, true), 0);
  });
  measure(`${name}: parse + add id + write, head repeated`, (i) => {
    parser.execute(same);
    parser.next();
    last.add("x-request-id", `2f6b7c1e-0d7f-4a7e-9d0b-${100_000_000_000 + i}`);
    sinkhole.latin1Write(encoder.head(last, true), 0);
  });
  measure(`${name}: parse + write, heads in turn`, (i) => {
    parser.execute(turns[i & 1]!);
    parser.next();
    sinkhole.latin1Write(encoder.head(last, true), 0);
  });
}

const answer = Buffer.from(RESPONSE, "latin1");
const answers = twins(RESPONSE.slice(0, -5)).map((head) => Buffer.concat([head, Buffer.from("hello")]));
const responseParser = new ResponseParser(responseSink);
const responseEncoder = new ResponseEncoder();
measure("response: parse, head repeated", () => {
  responseParser.expect("GET");
  responseParser.execute(answer);
});
measure("response: parse + write, head repeated", () => {
  responseParser.expect("GET");
  responseParser.execute(answer);
  sinkhole.latin1Write(responseEncoder.head(200, last, false, 0), 0);
});
measure("response: parse + write, heads in turn", (i) => {
  responseParser.expect("GET");
  responseParser.execute(answers[i & 1]!);
  sinkhole.latin1Write(responseEncoder.head(200, last, false, 0), 0);
});

interface LlhttpParser {
  initialize(type: number, resource: object): void;
  execute(chunk: Buffer): number | Error;
  [event: number]: unknown;
}
const { HTTPParser } = createRequire(import.meta.url)("_http_common") as {
  HTTPParser: { new (): LlhttpParser; REQUEST: number; kOnHeadersComplete: number };
};
for (const [name, head] of [
  ["wrk", WRK],
  ["browser", BROWSER],
] as const) {
  const llhttp = new HTTPParser();
  llhttp.initialize(HTTPParser.REQUEST, {});
  let count = 0;
  llhttp[HTTPParser.kOnHeadersComplete] = (_major: number, _minor: number, list: string[]) => {
    count += list.length;
    return 0;
  };
  const bytes = Buffer.from(head, "latin1");
  measure(`${name}: llhttp parse, for comparison`, () => void llhttp.execute(bytes));
  if (count === 0) throw new Error("llhttp saw no head");
}
