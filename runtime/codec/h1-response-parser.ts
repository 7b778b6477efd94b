/**
 * Responses from the bytes of an upstream connection (RFC 9112, strict), one for each `expect`.
 *
 * API: `new ResponseParser(sink, options)`; `expect(method, upgrade?)` before the request's first byte is
 * written; `execute(chunk)`, `resume()` after a pause, `finish()` at the end of the connection, all →
 * H1Error | null (the first error stays for good); `idle`, `pendingBytes`, `takePending()`.
 *
 * A byte after the end of a response, or without one expected, is an error: the response itself is still
 * delivered whole, but `idle` stays false and the connection must not be used again. Hop-by-hop fields are
 * removed as in requests. After 101 (only where `expect` said `upgrade`), or 2xx to CONNECT, every byte is
 * `onResponseData` until `finish`; the flags are UPGRADE and CLOSE_DELIMITED then.
 */
import { MAX_INFORMATIONAL, MAX_REMEMBERED_HEAD_BYTES } from "../limits.ts";
import { H1Errors, type H1Error } from "./h1-errors.ts";
import { Fact, fields } from "./h1-fields.ts";
import { MessageParser, State, type ParserOptions } from "./h1-parser.ts";
import { lineEnd } from "./h1-section.ts";
import { HeaderMap } from "./headers.ts";
import { HeadFlag, type ResponseSink } from "./message.ts";

/** Places of the list that the pseudo-header takes. */
const PSEUDO = 2;
const OTHER_VERSION = /^HTTP\/(?!1\.[01] )[0-9]\.[0-9] /;
const EMPTY = Buffer.alloc(0);
const SP = 0x20;

export class ResponseParser extends MessageParser {
  readonly #sink: ResponseSink;
  #expecting = false;
  #head = false;
  #connect = false;
  #upgrade = false;
  #informational = 0;
  #status = 0;
  #minor = 1;
  /** The last head as text with its empty line, and what it came to. */
  #lastHead = "";
  #lastList: string[] = [];
  #lastFacts = 0;
  #lastLength = 0;
  #lastStatus = 0;
  #lastMinor = 1;

  constructor(sink: ResponseSink, options: ParserOptions = {}) {
    super(options);
    this.#sink = sink;
  }

  /** No response is expected or in progress, no byte is pending, and nothing was wrong. */
  get idle(): boolean {
    return !this.#expecting && this.failure === null && this.pendingBytes === 0;
  }

  /** Announces the response to a request with this method; `upgrade` allows 101. */
  expect(method: string, upgrade = false): void {
    this.#expecting = true;
    this.#head = method === "HEAD";
    this.#connect = method === "CONNECT";
    this.#upgrade = upgrade;
    this.#informational = 0;
  }

  /** The connection ended: ends a close-delimited body, returns INCOMPLETE where a response was under way. */
  finish(): H1Error | null {
    if (this.failure !== null || !this.#expecting) return this.failure;
    if (this.state === State.UNTIL_CLOSE && this.pendingBytes === 0) {
      this.state = State.DONE;
      this.#expecting = false;
      this.#sink.onResponseData(EMPTY, true);
      return this.failure;
    }
    this.fail(H1Errors.INCOMPLETE);
    return this.failure;
  }

  protected override onData(chunk: Buffer, endStream: boolean): void {
    this.#sink.onResponseData(chunk, endStream);
  }

  protected override onTrailers(trailers: HeaderMap): void {
    this.#sink.onResponseTrailers(trailers);
  }

  protected override onDone(rest: number): void {
    this.#expecting = false;
    // Before the sink hears of the end: a sink that sends the next request at once must not get these bytes as its answer.
    if (rest > 0) this.fail(H1Errors.UNEXPECTED_RESPONSE);
    else this.state = State.HEAD;
  }

  protected override readHead(bytes: Buffer, start: number, end: number): number {
    if (!this.#expecting) {
      this.fail(H1Errors.UNEXPECTED_RESPONSE);
      return start;
    }
    const last = this.#lastHead;
    if (this.progress.at === 0 && last !== "" && end - start >= last.length) {
      if (bytes.latin1Slice(start, start + last.length) === last) {
        const next = start + last.length;
        this.remaining = this.#lastLength;
        this.#status = this.#lastStatus;
        this.#minor = this.#lastMinor;
        this.#deliver(this.#lastList.slice(), this.#lastFacts, end - next);
        return next;
      }
    }
    const next = this.scan(bytes, start, end, this.maxHeadBytes, this.maxHeaders + 1);
    if (next < 0) return start;
    const error = this.#parse(bytes, start, next, end - next);
    if (error === null) return next;
    this.fail(error);
    return start;
  }

  #parse(bytes: Buffer, start: number, next: number, rest: number): H1Error | null {
    const lines = this.progress.lines;
    this.progress.reset();
    if (lines === 0) return H1Errors.STATUS_LINE;
    const text = bytes.latin1Slice(start, next);
    const status = statusOf(text, lineEnd(0));
    if (status === 0) return statusLineError(text.substring(0, lineEnd(0)));
    this.#minor = text.charCodeAt(7) - 0x30;
    this.#status = status;
    fields.begin(PSEUDO, this.underscores);
    const error = fields.read(text, 1, lines) ?? this.#framing();
    if (error !== null) return error;
    fields.list[0] = ":status";
    fields.list[1] = text.substring(9, 12);
    this.remaining = fields.contentLength;
    if (this.#status < 200) return this.#informed();
    // RFC 9110 section 8.6: no Content-Length in 204.
    if (this.#status === 204 && (fields.facts & Fact.LENGTH) !== 0) fields.drop("content-length");
    if ((fields.facts & Fact.UPGRADE_FIELD) !== 0) fields.drop("upgrade");
    const list = fields.take();
    if (text.length <= MAX_REMEMBERED_HEAD_BYTES) {
      this.#lastHead = text;
      this.#lastList = list.slice();
      this.#lastFacts = fields.facts;
      this.#lastLength = this.remaining;
      this.#lastStatus = this.#status;
      this.#lastMinor = this.#minor;
    }
    this.#deliver(list, fields.facts, rest);
    return null;
  }

  #framing(): H1Error | null {
    const facts = fields.facts;
    if ((facts & Fact.CHUNKED) === 0) return null;
    if ((facts & Fact.LENGTH) !== 0) return H1Errors.LENGTH_AND_CHUNKED;
    if ((facts & Fact.CODING) !== 0) return H1Errors.TRANSFER_ENCODING;
    return this.#minor === 0 ? H1Errors.TRANSFER_ENCODING_NOT_ALLOWED : null;
  }

  /** A 1xx response: the final one is still to come, but for 101. */
  #informed(): H1Error | null {
    const facts = fields.facts;
    if ((facts & Fact.CHUNKED) !== 0) return H1Errors.TRANSFER_ENCODING_NOT_ALLOWED;
    if ((facts & Fact.LENGTH) !== 0) fields.drop("content-length");
    if (this.#status === 101) {
      if (!this.#upgrade || (facts & Fact.UPGRADE_FIELD) === 0 || this.#minor === 0) return H1Errors.UNEXPECTED_UPGRADE;
      const list = fields.take();
      list.push("connection", "upgrade");
      this.state = State.UNTIL_CLOSE;
      this.#sink.onResponseHead(101, new HeaderMap(list), HeadFlag.UPGRADE | HeadFlag.CLOSE_DELIMITED);
      return null;
    }
    if (++this.#informational > MAX_INFORMATIONAL) return H1Errors.TOO_MANY_INFORMATIONAL;
    if ((facts & Fact.UPGRADE_FIELD) !== 0) fields.drop("upgrade");
    this.#sink.onInformational(this.#status, new HeaderMap(fields.take()));
    return null;
  }

  /** Hands the final head to the sink and says how the body comes (RFC 9112 section 6.3). */
  #deliver(list: string[], facts: number, rest: number): void {
    const status = this.#status;
    let flags = (facts & Fact.CLOSE) === 0 ? HeadFlag.KEEP_ALIVE : 0;
    if (this.#minor === 0) flags = HeadFlag.HTTP_1_0 | ((facts & Fact.KEEP_ALIVE) === 0 ? 0 : flags);
    if (this.#connect && status < 300) {
      this.state = State.UNTIL_CLOSE;
      flags = (flags & ~HeadFlag.KEEP_ALIVE) | HeadFlag.UPGRADE | HeadFlag.CLOSE_DELIMITED;
    } else if (this.#head || status === 204 || status === 304) {
      this.#end(rest);
      flags |= HeadFlag.END_STREAM;
    } else if ((facts & Fact.CHUNKED) !== 0) {
      this.startChunked();
      flags |= HeadFlag.CHUNKED;
    } else if ((facts & Fact.LENGTH) === 0) {
      this.state = State.UNTIL_CLOSE;
      flags = (flags & ~HeadFlag.KEEP_ALIVE) | HeadFlag.CLOSE_DELIMITED;
    } else if (this.remaining > 0) {
      this.state = State.LENGTH;
    } else {
      this.#end(rest);
      flags |= HeadFlag.END_STREAM;
    }
    this.#sink.onResponseHead(status, new HeaderMap(list), flags);
  }

  #end(rest: number): void {
    this.state = State.DONE;
    this.onDone(rest);
  }
}

/** The status of the status line that ends at `end` of a head, 0 when it is malformed. The scan has judged the reason's characters. */
function statusOf(text: string, end: number): number {
  const minor = text.charCodeAt(7);
  if (end < 12 || !text.startsWith("HTTP/1.") || (minor !== 0x30 && minor !== 0x31) || text.charCodeAt(8) !== SP)
    return 0;
  if (end > 12 && text.charCodeAt(12) !== SP) return 0;
  const hundreds = text.charCodeAt(9) - 0x30;
  const tens = text.charCodeAt(10) - 0x30;
  const ones = text.charCodeAt(11) - 0x30;
  if (hundreds < 1 || hundreds > 9 || tens < 0 || tens > 9 || ones < 0 || ones > 9) return 0;
  return hundreds * 100 + tens * 10 + ones;
}

function statusLineError(line: string): H1Error {
  return OTHER_VERSION.test(line) ? H1Errors.VERSION : H1Errors.STATUS_LINE;
}
