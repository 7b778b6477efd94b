/** A downstream peer in memory: sends one request over a connection manager's session and reads the answer off the wire. */
import { ResponseParser } from "../codec/h1-response-parser.ts";
import type { HeaderMap } from "../codec/headers.ts";
import { HeadFlag } from "../codec/message.ts";
import type { ConnectionManager } from "../http/connection-manager.ts";
import type { ConnectionView, TerminalFilter } from "../network/filter.ts";
import { plainConnection } from "../observe/plain-connection.ts";
import { StreamInfo } from "../observe/stream-info.ts";
import type { ConnectionInfo } from "../observe/stream-info.ts";
import { settled } from "./clock.ts";
import { headerList, plainFields } from "./upstream.ts";

/** One request. */
export interface Request {
  /** Default GET, or POST with a body. */
  readonly method?: string;
  /** Default "/". */
  readonly path?: string;
  /** Default "test". */
  readonly authority?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** A list is sent piece by piece, chunked. */
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[];
  readonly trailers?: Readonly<Record<string, string>>;
  /** Address the connection comes from, `ip:port`. */
  readonly from?: string;
}

/** What came back over the wire. */
export interface Reply {
  /** 0: the connection ended without an answer. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly bytes: Buffer;
  readonly trailers: Readonly<Record<string, string>>;
  /** False: the connection ended before the answer did. */
  readonly complete: boolean;
}

const LOCAL = "192.0.2.20:10000";
let nextConnectionId = 1;

/** Where connections come from that do not say so. */
export const PEER = "192.0.2.10:50000";

/** A plain connection from `ip:port`. */
export function connectionFrom(from: string): ConnectionInfo {
  return plainConnection(from, LOCAL, { id: nextConnectionId++, listenerName: "test" });
}

export class Downstream implements ConnectionView {
  readonly info: ConnectionInfo;
  readonly resetByPeer = false;
  readonly stream: StreamInfo;
  readonly #session: TerminalFilter;
  readonly #parser: ResponseParser;
  readonly #pieces: Buffer[] = [];
  #status = 0;
  #headers: Readonly<Record<string, string>> = {};
  #body: Buffer[] = [];
  #trailers: HeaderMap | null = null;
  #complete = false;
  #pauses = 0;
  #closed = false;
  #done: (reply: Reply) => void = () => {};

  constructor(manager: ConnectionManager, from = PEER) {
    this.info = connectionFrom(from);
    this.stream = new StreamInfo(this.info, this.info.startTimeMs, performance.now());
    this.#session = manager.create(this);
    this.#session.onNewConnection();
    this.#parser = new ResponseParser({
      onInformational: () => {},
      onResponseHead: (status, headers, flags) => {
        this.#status = status;
        this.#headers = plainFields(headers);
        delete (this.#headers as Record<string, string>)[":status"];
        if ((flags & HeadFlag.END_STREAM) !== 0) this.#finish(true);
      },
      onResponseData: (chunk, endStream) => {
        this.#body.push(Buffer.from(chunk));
        if (endStream) this.#finish(true);
      },
      onResponseTrailers: (trailers) => {
        this.#trailers = trailers;
        this.#finish(true);
      },
    });
  }

  /** Sends a request; resolves when the answer is whole, or the connection ends. */
  send(request: Request): Promise<Reply> {
    const pieces = encode(request);
    this.#parser.expect(methodOf(request));
    return new Promise((resolve) => {
      this.#done = resolve;
      this.#pieces.push(...pieces);
      void this.#pump();
    });
  }

  /** The peer goes away. */
  abort(): void {
    this.#end(false);
  }

  async #pump(): Promise<void> {
    while (this.#pauses === 0 && !this.#closed) {
      const piece = this.#pieces.shift();
      if (piece === undefined) return;
      this.#session.onData(piece, false);
      await settled();
    }
  }

  #finish(complete: boolean): void {
    if (this.#complete) return;
    this.#complete = complete;
    const bytes = Buffer.concat(this.#body);
    this.#done({
      status: this.#status,
      headers: this.#headers,
      body: bytes.toString("utf8"),
      bytes,
      trailers: plainFields(this.#trailers),
      complete,
    });
  }

  #end(local: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#parser.finish();
    if (!this.#complete) this.#finish(false);
    this.#session.onClose(local);
    for (const close of this.info.closers ?? []) close();
  }

  // ---- the connection, as the session sees it -------------------------------------------------

  readonly unsentBytes = 0;
  get closed(): boolean {
    return this.#closed;
  }

  write(data: Buffer | string): boolean {
    const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : Buffer.from(data);
    const error = this.#parser.execute(bytes);
    if (error !== null) throw new Error(`what the proxy wrote is no HTTP: ${error.code}`);
    return true;
  }
  writeLent(data: Buffer): boolean {
    return this.write(data);
  }
  pauseReading(): void {
    this.#pauses++;
  }
  resumeReading(): void {
    if (this.#pauses > 0 && --this.#pauses === 0) void this.#pump();
  }
  close(): void {
    // As the real one: after what is being written.
    void settled().then(() => this.#end(true));
  }
  closeNow(): void {
    this.close();
  }
  reset(): void {
    this.close();
  }
  endWrite(): void {
    this.close();
  }
}

function methodOf({ method, body }: Request): string {
  return method ?? (body === undefined ? "GET" : "POST");
}

/** The request on the wire, in the pieces that arrive one by one. */
function encode(request: Request): Buffer[] {
  const { path, authority, headers, body, trailers } = request;
  const lines = [`${methodOf(request)} ${path ?? "/"} HTTP/1.1`, `host: ${authority ?? "test"}`];
  const list = headerList(headers);
  for (let at = 0; at < list.length; at += 2) lines.push(`${list[at]}: ${list[at + 1]}`);
  const pieces = (Array.isArray(body) ? body : body === undefined ? [] : [body]) as readonly (string | Uint8Array)[];
  const chunks = pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : Buffer.from(piece)));
  if (!Array.isArray(body) && trailers === undefined) {
    if (body !== undefined) lines.push(`content-length: ${chunks[0]!.length}`);
    const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
    return [head, ...chunks.filter((chunk) => chunk.length > 0)];
  }
  lines.push("transfer-encoding: chunked");
  const tail = headerList(trailers);
  const end = ["0"];
  for (let at = 0; at < tail.length; at += 2) end.push(`${tail[at]}: ${tail[at + 1]}`);
  return [
    Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"),
    ...chunks
      .filter((chunk) => chunk.length > 0)
      .map((chunk) => Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n")])),
    Buffer.from(`${end.join("\r\n")}\r\n\r\n`, "latin1"),
  ];
}
