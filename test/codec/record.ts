/** Runs a parser over chunks and writes down what it said, with neighbouring body pieces joined. */
import type { H1Error } from "../../runtime/codec/h1-errors.ts";
import { RequestParser, type RequestParserOptions } from "../../runtime/codec/h1-request-parser.ts";
import { ResponseParser } from "../../runtime/codec/h1-response-parser.ts";
import type { ParserOptions } from "../../runtime/codec/h1-parser.ts";
import type { HeaderMap } from "../../runtime/codec/headers.ts";
import { HeadFlag } from "../../runtime/codec/message.ts";

export interface Message {
  /** `:status` of a response. */
  status: number;
  fields: string[];
  flags: string[];
  body: string;
  /** Body pieces were given, and the last one said that the body ends. */
  ended: boolean;
  trailers: string[] | null;
}

export interface Recording {
  messages: Message[];
  informational: { status: number; fields: string[] }[];
  error: H1Error | null;
  /** What `finish` said; null when `execute` had failed already. */
  end: H1Error | null;
}

function flagNames(flags: number): string[] {
  return Object.entries(HeadFlag)
    .filter(([, bit]) => (flags & bit) !== 0)
    .map(([name]) => name);
}

/** Notes messages as the sinks hear of them, and fails the test where calls come in an order that cannot be. */
class Notes {
  readonly messages: Message[] = [];
  readonly informational: { status: number; fields: string[] }[] = [];

  head(status: number, headers: HeaderMap, flags: number): void {
    const open = this.messages.at(-1);
    if (open !== undefined && !open.ended) throw new Error("a head before the end of the message before");
    const ended = (flags & HeadFlag.END_STREAM) !== 0;
    this.messages.push({
      status,
      fields: headers.list.slice(),
      flags: flagNames(flags),
      body: "",
      ended,
      trailers: null,
    });
  }

  data(chunk: Buffer, endStream: boolean): void {
    const open = this.messages.at(-1);
    if (open === undefined || open.ended) throw new Error("data outside a message");
    open.body += chunk.latin1Slice();
    open.ended = endStream;
  }

  trailers(trailers: HeaderMap): void {
    const open = this.messages.at(-1);
    if (open === undefined || open.ended) throw new Error("trailers outside a message");
    open.trailers = trailers.list.slice();
    open.ended = true;
  }
}

/** Whether a session would read another request after this one. */
function goesOn(message: Message | undefined): boolean {
  return (
    message !== undefined && message.ended && message.flags.includes("KEEP_ALIVE") && !message.flags.includes("UPGRADE")
  );
}

/** Feeds a request parser as a session does: each whole message is followed by `next` if the connection goes on. */
export function recordRequests(chunks: readonly Buffer[], options: RequestParserOptions = {}): Recording {
  const notes = new Notes();
  const parser = new RequestParser(
    {
      onRequestHead: (headers, flags) => notes.head(0, headers, flags),
      onRequestData: (chunk, endStream) => notes.data(chunk, endStream),
      onRequestTrailers: (trailers) => notes.trailers(trailers),
    },
    options,
  );
  let error: H1Error | null = null;
  for (const chunk of chunks) {
    error = parser.execute(chunk);
    for (let seen = -1; error === null && goesOn(notes.messages.at(-1)) && seen !== notes.messages.length;) {
      seen = notes.messages.length;
      error = parser.next();
    }
    if (error !== null) break;
  }
  const end = error === null ? parser.finish() : null;
  return { messages: notes.messages, informational: notes.informational, error, end };
}

/** Feeds a response parser that expects one response to `method`. */
export function recordResponse(
  chunks: readonly Buffer[],
  method = "GET",
  upgrade = false,
  options: ParserOptions = {},
): Recording {
  const notes = new Notes();
  const parser = new ResponseParser(
    {
      onInformational: (status, headers) => notes.informational.push({ status, fields: headers.list.slice() }),
      onResponseHead: (status, headers, flags) => notes.head(status, headers, flags),
      onResponseData: (chunk, endStream) => notes.data(chunk, endStream),
      onResponseTrailers: (trailers) => notes.trailers(trailers),
    },
    options,
  );
  parser.expect(method, upgrade);
  let error: H1Error | null = null;
  for (const chunk of chunks) {
    error = parser.execute(chunk);
    if (error !== null) break;
  }
  const end = error === null ? parser.finish() : null;
  return { messages: notes.messages, informational: notes.informational, error, end };
}

/** Text to bytes, one byte per character. */
export function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** Every way to cut `text` in two, and into single bytes. */
export function splits(text: string): Buffer[][] {
  const all = bytes(text);
  const ways: Buffer[][] = [Array.from(all, (_, at) => all.subarray(at, at + 1))];
  for (let at = 1; at < all.length; at++) ways.push([all.subarray(0, at), all.subarray(at)]);
  return ways;
}
