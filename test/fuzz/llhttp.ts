/** Node's own HTTP/1 parser (llhttp, strict) behind the shape of our recordings. */
import { createRequire } from "node:module";
import { METHODS } from "node:http";

export interface Heard {
  method: string;
  target: string;
  minor: number;
  status: number;
  /** name, value, … as they came. */
  raw: string[];
  body: string;
  ended: boolean;
  upgrade: boolean;
  trailers: string[];
}

export interface LlhttpRecording {
  messages: Heard[];
  /** Code of the error, of `execute` or of `finish`. */
  error: string | null;
  /** The error came only with the end of the bytes. */
  atEnd: boolean;
}

interface Parser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number): void;
  execute(chunk: Buffer): number | (Error & { code: string });
  finish(): undefined | (Error & { code: string });
  free(): void;
  [event: number]: unknown;
}

const common = createRequire(import.meta.url)("_http_common") as {
  methods: string[];
  HTTPParser: {
    new (): Parser;
    REQUEST: number;
    RESPONSE: number;
    kOnHeaders: number;
    kOnHeadersComplete: number;
    kOnBody: number;
    kOnMessageComplete: number;
  };
};
const { HTTPParser, methods } = common;

/** Methods that llhttp knows; it refuses all others. */
export const KNOWN_METHODS: ReadonlySet<string> = new Set([...METHODS, ...methods]);

const parser = new HTTPParser();
const MAX_HEADER_BYTES = 61_440;
let heard: Heard[] = [];
let flushed: string[] = [];
let flushedTarget = "";
let requestMethod = "GET";

parser[HTTPParser.kOnHeaders] = (headers: string[], url: string) => {
  const open = heard.at(-1);
  if (open !== undefined && !open.ended) {
    // More of the trailers; the target that comes with them is left over from the head.
    open.trailers.push(...headers);
    return;
  }
  flushed.push(...headers);
  flushedTarget += url;
};
parser[HTTPParser.kOnHeadersComplete] = (
  _major: number,
  minor: number,
  headers: string[] | undefined,
  method: number | undefined,
  url: string | undefined,
  status: number | undefined,
  _message: string | undefined,
  upgrade: boolean,
) => {
  heard.push({
    // The list that Node shows has no entry for the newest method.
    method: method === undefined ? "" : (methods[method] ?? "QUERY"),
    target: url ?? flushedTarget,
    minor: _major * 10 + minor,
    status: status ?? 0,
    raw: headers ?? flushed,
    body: "",
    ended: false,
    upgrade,
    trailers: [],
  });
  flushed = [];
  flushedTarget = "";
  return method === undefined && requestMethod === "HEAD" ? 1 : 0;
};
parser[HTTPParser.kOnBody] = (chunk: Buffer) => {
  const open = heard.at(-1);
  if (open !== undefined) open.body += chunk.latin1Slice();
};
parser[HTTPParser.kOnMessageComplete] = () => {
  const open = heard.at(-1);
  if (open !== undefined) open.ended = true;
};

/** What llhttp makes of `bytes`; `method` is that of the request when they are responses. */
export function llhttp(bytes: Buffer, method: string | null): LlhttpRecording {
  heard = [];
  flushed = [];
  flushedTarget = "";
  requestMethod = method ?? "";
  parser.initialize(method === null ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, MAX_HEADER_BYTES, 0);
  const result = parser.execute(bytes);
  if (typeof result !== "number") return { messages: heard, error: result.code, atEnd: false };
  if (heard.at(-1)?.upgrade && heard.at(-1)?.ended) return { messages: heard, error: null, atEnd: false };
  const end = parser.finish();
  return { messages: heard, error: end?.code ?? null, atEnd: end !== undefined };
}
