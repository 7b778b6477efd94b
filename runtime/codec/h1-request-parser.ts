/**
 * Requests from the bytes of a downstream connection (RFC 9112, strict), one message at a time.
 *
 * API: `new RequestParser(sink, options)`; `execute(chunk)`, `next()` after each whole message,
 * `resume()` after a pause, `finish()` at the end of the connection, all → H1Error | null (the first
 * error stays for good); `pendingBytes`, `headStarted`, `reset()`, `takePending()`.
 *
 * The sink gets `:authority`, `:path`, `:method`, `:scheme` first. Removed from the map: host (it is
 * `:authority`), connection and what it names, keep-alive, proxy-connection, transfer-encoding, te but
 * `trailers`, `expect: 100-continue`, upgrade unless the flag UPGRADE is set (then `connection: upgrade`
 * and upgrade are both there). CONNECT has `:path` "" and the flags END_STREAM and UPGRADE. After an
 * UPGRADE head the message counts as whole: later bytes stay for `next()` or `takePending()`.
 */
import { MAX_EMPTY_LINES, MAX_REMEMBERED_HEAD_BYTES } from "../limits.ts";
import { TARGET, TOKEN } from "./h1-chars.ts";
import { H1Errors, type H1Error } from "./h1-errors.ts";
import { Fact, fields } from "./h1-fields.ts";
import { MessageParser, State, type ParserOptions } from "./h1-parser.ts";
import { lineEnd } from "./h1-section.ts";
import { absolute, isAuthority, splitAbsolute } from "./h1-target.ts";
import { HeaderMap } from "./headers.ts";
import { HeadFlag, type RequestSink } from "./message.ts";

export interface RequestParserOptions extends ParserOptions {
  /** Envoy: `allow_absolute_url`, true. */
  readonly allowAbsoluteUrl?: boolean;
  /** What `:scheme` says of requests that do not say it themselves. */
  readonly scheme?: "http" | "https";
}

/** Facts that say how a body comes. */
const FRAMING = Fact.LENGTH | Fact.CHUNKED;
/** Beside the facts of the fields: the connection goes on with another protocol. */
const UPGRADING = 1 << 16;
/** Places of the list that the pseudo-headers take. */
const PSEUDO = 8;
const VERSION = [0x48, 0x54, 0x54, 0x50, 0x2f];
const SP = 0x20;
const SLASH = 0x2f;

export class RequestParser extends MessageParser {
  readonly #sink: RequestSink;
  readonly #absoluteUrl: boolean;
  readonly #scheme: string;
  #emptyLines = 0;
  // Where the parts of the last request line stand, and its version.
  #methodEnd = 0;
  #targetEnd = 0;
  #minor = 1;
  #facts = 0;
  /** The head before; its field lines, with the empty line, and what they came to. */
  #lastHead = "";
  #lastBlock = "";
  #lastMinor = 1;
  /** Heads parsed since one was recognised. */
  #misses = 0;
  #lastList: string[] = [];
  #lastFacts = 0;
  #lastLength = 0;

  constructor(sink: RequestSink, options: RequestParserOptions = {}) {
    super(options);
    this.#sink = sink;
    this.#absoluteUrl = options.allowAbsoluteUrl ?? true;
    this.#scheme = options.scheme ?? "http";
  }

  /** A head has begun and is not whole. */
  get headStarted(): boolean {
    return this.state === State.HEAD && this.pendingBytes > 0;
  }

  /** Takes up the next message after a whole one; inside a sink's call parsing goes on after that call. */
  next(): H1Error | null {
    if (this.state === State.DONE) this.state = State.HEAD;
    return this.drain();
  }

  /** The connection ended. Returns INCOMPLETE in the middle of a message. */
  finish(): H1Error | null {
    if (this.failure === null && this.state !== State.DONE && (this.state !== State.HEAD || this.pendingBytes > 0)) {
      this.fail(H1Errors.INCOMPLETE);
    }
    return this.failure;
  }

  /** Makes the parser fit for another connection. */
  reset(): void {
    this.clear();
    this.#emptyLines = 0;
  }

  protected override onData(chunk: Buffer, endStream: boolean): void {
    this.#sink.onRequestData(chunk, endStream);
  }

  protected override onTrailers(trailers: HeaderMap): void {
    this.#sink.onRequestTrailers(trailers);
  }

  protected override onDone(): void {
    // What follows is the next request: it stays until `next`.
  }

  protected override readHead(bytes: Buffer, start: number, end: number): number {
    if (this.progress.at === 0) {
      if (bytes[start] === 13) return this.#emptyLine(bytes, start, end);
      if (this.#lastBlock !== "" && this.#remembers()) {
        const next = this.#repeated(bytes, start, end);
        if (next !== 0) return next;
      }
    }
    const next = this.scan(bytes, start, end, this.maxHeadBytes, this.maxHeaders + 1);
    if (next < 0) return start;
    const error = this.#parse(bytes, start, next);
    if (error === null) return next;
    this.fail(error);
    return start;
  }

  #emptyLine(bytes: Buffer, start: number, end: number): number {
    if (start + 1 === end) return start;
    if (bytes[start + 1] === 10 && this.#emptyLines < MAX_EMPTY_LINES) {
      this.#emptyLines++;
      return start + 2;
    }
    this.fail(H1Errors.LINE_TERMINATOR);
    return start;
  }

  #parse(bytes: Buffer, start: number, next: number): H1Error | null {
    const lines = this.progress.lines;
    this.progress.reset();
    const line = lineEnd(0);
    if (this.#requestLine(bytes, start, start + line) !== start + line) {
      return requestLineError(bytes.latin1Slice(start, start + line));
    }
    const text = bytes.latin1Slice(start, next);
    fields.begin(PSEUDO, this.underscores);
    let error = fields.read(text, 1, lines);
    if (error !== null) return error;
    this.#facts = fields.facts;
    this.remaining = fields.contentLength;
    const list = fields.list;
    const method = methodOf(bytes, text, start, this.#methodEnd);
    const target = text.substring(this.#methodEnd + 1 - start, this.#targetEnd - start);
    error = this.#target(list, method, target);
    if (error !== null) return error;
    if ((this.#facts & FRAMING) !== 0) {
      error = this.#framing(method);
      if (error !== null) return error;
    }
    const upgrade = this.#upgrades(method);
    if ((this.#facts & Fact.UPGRADE_FIELD) !== 0 && (!upgrade || method === "CONNECT")) fields.drop("upgrade");
    if (upgrade) this.#upgrade(list, method);
    else if (
      bytes[this.#methodEnd + 1] === SLASH &&
      next - start <= MAX_REMEMBERED_HEAD_BYTES &&
      (this.#lastBlock === "" || this.#remembers())
    ) {
      this.#lastHead = text;
      this.#lastBlock = text.substring(line + 2);
      this.#lastMinor = this.#minor;
      this.#lastList = fields.take();
      this.#lastFacts = this.#facts;
      this.#lastLength = this.remaining;
    }
    this.#misses++;
    this.#deliver(fields.take());
    return null;
  }

  /** Heads that keep changing are seldom looked up and stored: twice in a row out of sixteen. */
  #remembers(): boolean {
    return this.#misses < 4 || (this.#misses & 14) === 0;
  }

  /**
   * A head that is byte for byte the one before, or at least in its field lines: its list is copied
   * instead of parsed. Returns the index after it, or 0 when it is not one.
   */
  #repeated(bytes: Buffer, start: number, end: number): number {
    let next = start + this.#lastHead.length;
    let text = "";
    if (next <= end && bytes[next - 1] === 10) {
      text = bytes.latin1Slice(start, next);
      if (text === this.#lastHead) {
        this.#minor = this.#lastMinor;
        this.#again(this.#lastList.slice());
        return next;
      }
    }
    const line = this.#requestLine(bytes, start, end) + 2;
    const block = this.#lastBlock;
    next = line + block.length;
    if (line < 2 || next > end || next - start > this.maxHeadBytes || bytes[next - 1] !== 10) return 0;
    if (bytes[line - 2] !== 13 || bytes[line - 1] !== 10 || bytes[this.#methodEnd + 1] !== SLASH) return 0;
    if (this.#minor === 0 && (this.#lastFacts & FRAMING) !== 0) return 0;
    if (text.length !== next - start) text = bytes.latin1Slice(start, next);
    if (text.substring(line - start) !== block) return 0;
    const method = methodOf(bytes, text, start, this.#methodEnd);
    if (method === "CONNECT" || method === "PRI") return 0;
    const list = this.#lastList.slice();
    list[3] = text.substring(this.#methodEnd + 1 - start, this.#targetEnd - start);
    list[5] = method;
    this.#again(list);
    return next;
  }

  #again(list: string[]): void {
    this.#misses = 0;
    this.#facts = this.#lastFacts;
    this.remaining = this.#lastLength;
    this.#deliver(list);
  }

  /** Splits the line that starts at `start`; returns the index after its version, or -1 when it is malformed. */
  #requestLine(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && TOKEN[bytes[at]!] !== 0) at++;
    if (at === start || at === end || bytes[at] !== SP) return -1;
    this.#methodEnd = at++;
    while (at < end && TARGET[bytes[at]!] === 1) at++;
    if (at === this.#methodEnd + 1 || end - at < 9 || bytes[at] !== SP) return -1;
    this.#targetEnd = at++;
    for (let i = 0; i < VERSION.length; i++) if (bytes[at + i] !== VERSION[i]) return -1;
    if (bytes[at + 5] !== 0x31 || bytes[at + 6] !== 0x2e) return -1;
    this.#minor = bytes[at + 7]! - 0x30;
    return this.#minor === 0 || this.#minor === 1 ? at + 8 : -1;
  }

  /** Fills in the pseudo-headers. */
  #target(list: string[], method: string, target: string): H1Error | null {
    let host = fields.host;
    if (host !== "" && !isAuthority(host)) return H1Errors.HOST;
    let path = target;
    let scheme = this.#scheme;
    if (method === "PRI") return H1Errors.METHOD;
    if (method === "CONNECT") {
      if (!isAuthority(target) || !/:[0-9]+$/.test(target)) return H1Errors.TARGET;
      host = target;
      path = "";
    } else if (target.charCodeAt(0) !== SLASH && (target !== "*" || method !== "OPTIONS")) {
      if (!this.#absoluteUrl || !splitAbsolute(target)) return H1Errors.TARGET;
      // RFC 9112 section 3.2.2: the target's authority replaces Host.
      host = absolute.authority;
      scheme = absolute.scheme;
      path = absolute.path;
    }
    list[0] = ":authority";
    list[1] = host;
    list[2] = ":path";
    list[3] = path;
    list[4] = ":method";
    list[5] = method;
    list[6] = ":scheme";
    list[7] = scheme;
    return null;
  }

  #framing(method: string): H1Error | null {
    const facts = this.#facts;
    if ((facts & Fact.CHUNKED) === 0) {
      return method === "CONNECT" && this.remaining > 0 ? H1Errors.CONTENT_LENGTH_NOT_ALLOWED : null;
    }
    if ((facts & Fact.LENGTH) !== 0) return H1Errors.LENGTH_AND_CHUNKED;
    if ((facts & Fact.CODING) !== 0) return H1Errors.TRANSFER_ENCODING;
    return this.#minor === 0 || method === "CONNECT" ? H1Errors.TRANSFER_ENCODING_NOT_ALLOWED : null;
  }

  /** RFC 9110 section 7.8: HTTP/1.0 cannot upgrade. With a body it is an ordinary request, as no protocol needs one. */
  #upgrades(method: string): boolean {
    if (method === "CONNECT") return true;
    if (this.#minor === 0) return false;
    return (this.#facts & (Fact.UPGRADE_FIELD | Fact.CHUNKED)) === Fact.UPGRADE_FIELD && this.remaining === 0;
  }

  #upgrade(list: string[], method: string): void {
    this.#facts |= UPGRADING;
    if (method !== "CONNECT") {
      list[fields.count++] = "connection";
      list[fields.count++] = "upgrade";
    }
  }

  /** Hands the head to the sink and says how the body comes. */
  #deliver(list: string[]): void {
    const facts = this.#facts;
    this.#emptyLines = 0;
    let flags = (facts & Fact.CLOSE) === 0 ? HeadFlag.KEEP_ALIVE : 0;
    if (this.#minor === 0) {
      flags = HeadFlag.HTTP_1_0 | ((facts & Fact.KEEP_ALIVE) === 0 ? 0 : flags);
    } else if ((facts & Fact.EXPECT) !== 0) {
      flags |= HeadFlag.EXPECT_CONTINUE;
    }
    if ((facts & Fact.CHUNKED) !== 0) {
      this.startChunked();
      flags |= HeadFlag.CHUNKED;
    } else if (this.remaining > 0) {
      this.state = State.LENGTH;
    } else {
      this.state = State.DONE;
      flags |= HeadFlag.END_STREAM;
      if ((facts & UPGRADING) !== 0) flags |= HeadFlag.UPGRADE;
    }
    this.#sink.onRequestHead(new HeaderMap(list), flags);
  }
}

/** Which error a request line that is not `method SP target SP HTTP/1.x` is. */
function requestLineError(line: string): H1Error {
  const parts = line.split(" ");
  if (line === "PRI * HTTP/2.0") return H1Errors.HTTP2_PREFACE;
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(parts[0]!)) return H1Errors.METHOD;
  if (parts.length !== 3 || parts[1] === "") return H1Errors.REQUEST_LINE;
  if (!/^[\x21-\x22\x24-\x7e]+$/.test(parts[1]!)) return H1Errors.TARGET;
  return /^HTTP\/[0-9]\.[0-9]$/.test(parts[2]!) ? H1Errors.VERSION : H1Errors.REQUEST_LINE;
}

/** The method as a string, the usual ones without making a new one. */
function methodOf(bytes: Buffer, text: string, start: number, end: number): string {
  const length = end - start;
  const first = bytes[start];
  if (length === 3 && first === 0x47 && text.startsWith("GET")) return "GET";
  if (length === 4 && first === 0x50 && text.startsWith("POST")) return "POST";
  return text.substring(0, length);
}
