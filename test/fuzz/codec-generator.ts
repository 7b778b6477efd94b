/** Makes HTTP/1 messages, most nearly right, from a seed: a grammar with wrong productions, then mutations. */

/** Seeded generator of numbers (mulberry32): the same seed gives the same cases on every machine. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** Whole number from 0 to `bound - 1`. */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) % bound;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}

const METHODS = ["GET", "GET", "GET", "POST", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT"];
const ODD_METHODS = ["get", "M-SEARCH", "FOO", "PRI", "GET\t", "G=T", "", "SOURCE", "QUERY", "TRACE", "GE T", "X_Y"];
const TARGETS = ["/", "/", "/a", "/a/b?c=d&e", "/%20", "/a;b=c", "/~u/[x]|{y}", "//x", "/?", "/a\\b", '/"<>^`'];
const ODD_TARGETS = [
  "http://h/p",
  "http://h",
  "HTTP://h:80?q",
  "https://[::1]:8/",
  "*",
  "h:443",
  "",
  "/#f",
  "/a b",
  "/\xe9",
].concat([
  "a",
  "http://u@h/",
  "ftp://h/",
  "/\x00",
  "/\t",
  "http://h:99999/",
  "http:///",
  "/\x7f",
  "?x",
  "h",
  ":80",
  "http:/",
]);
const VERSIONS = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"];
const ODD_VERSIONS = [
  "HTTP/1.2",
  "HTTP/2.0",
  "HTTP/0.9",
  "http/1.1",
  "HTTP/1",
  "HTTP/11",
  "HTTP/1.1 ",
  "HTTP/1.01",
  "",
  "ICE/1.0",
];
const ENDS = ["\n", "\r", "\r\r\n", "\n\r", "\r\n ", "\r\n\t", "\r\n\r", "\x0b\r\n", " \r\n", "\t\r\n", ""];
const NAMES = [
  "Accept",
  "User-Agent",
  "x-a",
  "X_b",
  "Cookie",
  "a",
  "X-Long-Header-Name-That-Is-Not-Shared-By-Anyone",
  "Via",
];
const ODD_NAMES = ["", "X Y", "X\t", "X ", ":x", "X(", "\xe9", "X\0", "X,Y", "x\x7f", '"q"', "X/Y", "X{"];
const VALUES = [
  "*/*",
  "v",
  "a, b",
  "",
  "a\tb",
  "\xe9\xff",
  "x".repeat(50),
  'W/"1"',
  "a;b=c",
  "1",
  "  padded  ",
  "\tv\t",
];
const ODD_VALUES = ["\0", "a\x01b", "a\rb", "a\nb", "\x7f", "a\x0bb", "\x1b", "a\r\n b", "a\x0c"];
const HOSTS = ["h", "h", "example.com:80", "[::1]:8", "127.0.0.1"];
const ODD_HOSTS = ["", "a b", "u@h", "a/b", "h:x", "a,b", "h:1:2", "\xe9", "[x", "h#", "a\\b", "h:", "-", "%41"];
const LENGTHS = [
  "+1",
  "-1",
  "0x1",
  "1,1",
  "1, 1",
  "",
  " ",
  "1 1",
  "01",
  "00",
  "9007199254740992",
  "9007199254740991",
].concat(["18446744073709551616", "18446744073709551621", "1e0", "1.0", "a", "1;", "184467440737095516155"]);
const CODINGS = [
  "chunked",
  "Chunked",
  "CHUNKED",
  "chunked ",
  "\tchunked",
  "gzip, chunked",
  "chunked, gzip",
  "identity",
  "xchunked",
].concat([
  "chunked\x0b",
  "chunked;a=b",
  '"chunked"',
  "chunked, chunked",
  ",chunked",
  "chunked,",
  "",
  "gzip",
  "chunkedx",
  "chun ked",
]);
const CONNECTIONS = [
  "close",
  "keep-alive",
  "Keep-Alive",
  "close, keep-alive",
  "x-a",
  "upgrade",
  "Upgrade, x-a",
  "te",
  ",",
  "a b",
].concat([
  "x-forwarded-for",
  "host",
  "a,b,c,d,e,f,g,h,i,j,k",
  "keep-alive, x_b",
  "proxy-authorization",
  "close, close",
  ":path",
]);
const SIZES = [
  "+1",
  "0x1",
  " 1",
  "1 ",
  "-1",
  "",
  "1;",
  "1;a",
  "1;a=b",
  '1;a="b;\\"c"',
  "1;a=",
  "1 ;a",
  "1; a",
  "g",
  "00000001",
  "1_",
  "10000000000000001",
].concat([
  "FFFFFFFFFFFFFFFF",
  "1;=b",
  "1;a b",
  "1;a\tb",
  '1;a="',
  "1\t",
  "1;a;b",
  "20000000000000",
  '1;a="b"c',
  "1;\xe9",
  '1;a="\xe9"',
  "1,",
]);
const TRAILERS = [
  "X-T: v\r\n",
  "x-t:v\r\nx-u:\r\n",
  "Content-Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "X : y\r\n",
  " x\r\n",
  "Host: z\r\n",
].concat(["X: y\n", "X\r\n", ": y\r\n", "Connection: close\r\n", "GET / HTTP/1.1\r\n", "X: \0\r\n"]);
const STATUS = [
  "200 OK",
  "200 OK",
  "200 OK",
  "404 Not Found",
  "204 No Content",
  "304 Not Modified",
  "500 ",
  "200",
  "999 x",
].concat(["100 Continue", "101 Switching Protocols", "103 Early Hints", "301 \xe9\ttext"]);
const ODD_STATUS = [
  "20 OK",
  "2000 OK",
  "",
  " 200 OK",
  "200  OK",
  "2xx OK",
  "099 x",
  "000 x",
  "200\tOK",
  "200 \0",
  "+20 OK",
  "200OK",
  "200 a\rb",
];
const BYTES = [
  "\0",
  "\t",
  "\n",
  "\r",
  " ",
  ":",
  ";",
  ",",
  "\r\n",
  "\r\n\r\n",
  "0",
  "1",
  "a",
  "\x7f",
  "\x80",
  "\xff",
  "#",
  "/",
  '"',
  "0\r\n\r\n",
  "_",
  "=",
];

/** One connection's worth of requests as latin-1 text. */
export function requests(dice: Dice): string {
  let text = dice.once(20) ? dice.pick(["\r\n", "\r\n\r\n", "\r\n\r\n\r\n", "\n", "\r", " "]) : "";
  const count = dice.once(3) ? 1 + dice.below(3) : 1;
  for (let i = 0; i < count; i++) text += request(dice);
  return mutated(dice, text);
}

/** One upstream connection's worth of responses. */
export function responses(dice: Dice): string {
  let text = dice.once(10)
    ? `HTTP/1.1 ${dice.pick(["100 Continue", "103 Early Hints", "102 x"])}\r\n${fields(dice, 1)}\r\n`
    : "";
  const version = dice.once(25) ? dice.pick(ODD_VERSIONS) : dice.pick(VERSIONS);
  text += `${version}${dice.once(60) ? dice.pick(["", "  ", "\t"]) : " "}`;
  text += `${dice.once(15) ? dice.pick(ODD_STATUS) : dice.pick(STATUS)}${end(dice)}`;
  text += `${fields(dice, dice.below(4))}${framed(dice)}`;
  if (dice.once(15)) text += dice.pick(["x", "\r\n", "HTTP/1.1 200 OK\r\n\r\n", "\n"]);
  return mutated(dice, text);
}

function request(dice: Dice): string {
  const method = dice.once(20) ? dice.pick(ODD_METHODS) : dice.pick(METHODS);
  let target = dice.once(12) ? dice.pick(ODD_TARGETS) : dice.pick(TARGETS);
  if (method === "CONNECT" && !dice.once(10)) target = "h:443";
  const version = dice.once(25) ? dice.pick(ODD_VERSIONS) : dice.pick(VERSIONS);
  const space = dice.once(80) ? dice.pick(["  ", "\t", ""]) : " ";
  let text = `${method}${space}${target} ${version}${end(dice)}`;
  if (!dice.once(20)) text += `Host: ${dice.once(15) ? dice.pick(ODD_HOSTS) : dice.pick(HOSTS)}${end(dice)}`;
  if (dice.once(40)) text += `Host: ${dice.pick(HOSTS)}\r\n`;
  text += fields(dice, dice.below(4));
  return text + framed(dice);
}

function end(dice: Dice): string {
  return dice.once(120) ? dice.pick(ENDS) : "\r\n";
}

function fields(dice: Dice, count: number): string {
  let text = "";
  for (let i = 0; i < count; i++) text += field(dice);
  if (dice.once(8)) text += `Connection: ${dice.pick(CONNECTIONS)}${end(dice)}`;
  if (dice.once(25)) text += `Upgrade: ${dice.pick(["websocket", "h2c", "", "foo, bar"])}${end(dice)}`;
  if (dice.once(30)) text += `Expect: ${dice.pick(["100-continue", "100-Continue", "x"])}${end(dice)}`;
  if (dice.once(30)) text += `TE: ${dice.pick(["trailers", "gzip", "gzip, trailers;q=1"])}${end(dice)}`;
  if (dice.once(40))
    text += `${dice.pick(["Keep-Alive: timeout=5", "Proxy-Connection: close", "HTTP2-Settings: AA"])}${end(dice)}`;
  if (dice.once(2000)) for (let i = 0; i < 105; i++) text += `n${i}: v\r\n`;
  return text;
}

function field(dice: Dice): string {
  const name = dice.once(40) ? dice.pick(ODD_NAMES) : dice.pick(NAMES);
  const colon = dice.once(40) ? dice.pick([" :", "", "\t:", "::", ";"]) : dice.pick([": ", ":", ":  ", ":\t"]);
  const value = dice.once(40) ? dice.pick(ODD_VALUES) : dice.pick(VALUES);
  return `${name}${colon}${value}${end(dice)}`;
}

/** Framing fields, the empty line and a body that mostly fits. */
function framed(dice: Dice): string {
  const way = dice.below(10);
  const body = "hello world ".repeat(3).slice(0, dice.below(30));
  if (way < 3) return end(dice);
  if (way < 6) {
    const length = dice.once(8) ? dice.pick(LENGTHS) : String(body.length);
    return `Content-Length: ${length}${end(dice)}${dice.once(30) ? `Content-Length: ${dice.pick([length, "1"])}\r\n` : ""}${end(dice)}${body}`;
  }
  let text = `Transfer-Encoding: ${dice.once(8) ? dice.pick(CODINGS) : "chunked"}${end(dice)}`;
  if (dice.once(30)) text += `Content-Length: ${body.length}\r\n`;
  if (dice.once(30)) text += `Transfer-Encoding: ${dice.pick(CODINGS)}\r\n`;
  return `${text}${end(dice)}${chunks(dice)}`;
}

function chunks(dice: Dice): string {
  let text = "";
  for (let i = dice.below(4); i > 0; i--) {
    if (dice.once(12)) {
      text += `${dice.pick(SIZES)}${end(dice)}x${end(dice)}`;
    } else {
      const data = "0123456789abcdef".slice(0, 1 + dice.below(16));
      text += `${data.length.toString(16)}${end(dice)}${data}${end(dice)}`;
    }
  }
  text += `${dice.once(20) ? dice.pick(["00", "0;a=b", "0 ", "0x0", ""]) : "0"}${end(dice)}`;
  if (dice.once(6)) text += dice.pick(TRAILERS);
  return text + end(dice);
}

function mutated(dice: Dice, text: string): string {
  if (!dice.once(3)) return text;
  let result = text;
  for (let i = 1 + dice.below(3); i > 0; i--) {
    const at = dice.below(result.length + 1);
    switch (dice.below(5)) {
      case 0:
        result = result.slice(0, at) + dice.pick(BYTES) + result.slice(at);
        break;
      case 1:
        result = result.slice(0, at) + result.slice(at + 1 + dice.below(3));
        break;
      case 2:
        result = result.slice(0, at) + dice.pick(BYTES) + result.slice(at + 1);
        break;
      case 3:
        result = result.slice(0, at) + result.slice(at, at + 1 + dice.below(20)) + result.slice(at);
        break;
      default:
        result = result.slice(0, at);
    }
  }
  return result;
}

/** Cuts bytes into up to four pieces. */
export function cut(dice: Dice, all: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let from = 0;
  for (let i = dice.below(4); i > 0 && from < all.length; i--) {
    const to = from + dice.below(all.length - from + 1);
    pieces.push(all.subarray(from, to));
    from = to;
  }
  pieces.push(all.subarray(from));
  return pieces;
}
