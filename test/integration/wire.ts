/** Strict reading of HTTP/1.1 bytes as a peer would: any message that is framed wrongly, or twice, is an error. */

/** One message cut from a connection. */
export interface Message {
  readonly start: string;
  /** `name: value`, names in lower case. */
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
  readonly trailers: readonly (readonly [string, string])[];
  /** The body ended with the connection. */
  readonly untilClose: boolean;
}

export function field(message: Message, name: string): string | undefined {
  return message.fields.find((one) => one[0] === name)?.[1];
}

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/i;

function section(text: string): (readonly [string, string])[] {
  if (text === "") return [];
  return text.split("\r\n").map((line) => {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    if (colon < 1 || !NAME.test(name)) throw new Error(`bad field ${JSON.stringify(line)}`);
    if (/[\r\n\0]/.test(line)) throw new Error(`control character in ${JSON.stringify(line)}`);
    return [name.toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
}

interface Chunked {
  readonly body: string;
  readonly trailers: (readonly [string, string])[];
  readonly end: number;
}

/** Undefined while the body is not complete. */
function chunked(text: string, from: number): Chunked | undefined {
  let at = from;
  let body = "";
  for (;;) {
    const line = text.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = text.slice(at, line);
    if (!/^[0-9a-f]+$/.test(size)) throw new Error(`bad chunk size ${JSON.stringify(size.slice(0, 40))}`);
    const length = Number.parseInt(size, 16);
    at = line + 2;
    if (length === 0) break;
    if (text.length < at + length + 2) return undefined;
    if (text.slice(at + length, at + length + 2) !== "\r\n") throw new Error("chunk without its end");
    body += text.slice(at, at + length);
    at += length + 2;
  }
  if (text.startsWith("\r\n", at)) return { body, trailers: [], end: at + 2 };
  const end = text.indexOf("\r\n\r\n", at);
  return end < 0 ? undefined : { body, trailers: section(text.slice(at, end)), end: end + 4 };
}

/** Reads messages off one connection as its bytes arrive. */
export class Reader {
  /** Bytes not yet part of a whole message. */
  rest = "";
  readonly messages: Message[] = [];
  readonly #request: boolean;
  /** Methods of the requests that the responses answer, in order. */
  readonly #methods: string[];

  constructor(request: boolean, methods: string[] = []) {
    this.#request = request;
    this.#methods = methods;
  }

  /** Takes bytes in; throws when they are no valid messages. Returns the number of new ones. */
  add(text: string): number {
    this.rest += text;
    let found = 0;
    while (this.#next(false)) found++;
    return found;
  }

  /** The peer closed: a body that ends with the connection is complete. */
  end(): void {
    this.#next(true);
  }

  #next(closed: boolean): boolean {
    const head = this.rest.indexOf("\r\n\r\n");
    if (head < 0) {
      if (this.rest.length > 3 && !this.#request && !this.rest.startsWith("HTTP"))
        throw new Error(`not a response: ${JSON.stringify(this.rest.slice(0, 80))}`);
      return false;
    }
    const lines = this.rest.slice(0, head);
    const cut = lines.indexOf("\r\n");
    const start = cut < 0 ? lines : lines.slice(0, cut);
    const fields = cut < 0 ? [] : section(lines.slice(cut + 2));
    if (!(this.#request ? /^[A-Z]+ \S+ HTTP\/1\.1$/ : /^HTTP\/1\.1 [1-9]\d\d /).test(start))
      throw new Error(`bad start line ${JSON.stringify(start.slice(0, 200))}`);
    const lengths = fields.filter((one) => one[0] === "content-length");
    const codings = fields.filter((one) => one[0] === "transfer-encoding");
    if (lengths.length + codings.length > 1) throw new Error(`framed twice: ${lines}`);
    if (this.#request && fields.filter((one) => one[0] === "host").length !== 1) throw new Error(`host: ${lines}`);
    if (!this.#request && start.startsWith("HTTP/1.1 1")) {
      this.rest = this.rest.slice(head + 4);
      return true;
    }
    return this.#body(start, fields, head + 4, lengths[0]?.[1], codings[0]?.[1], closed);
  }

  #body(
    start: string,
    fields: Message["fields"],
    from: number,
    length: string | undefined,
    coding: string | undefined,
    closed: boolean,
  ): boolean {
    const status = this.#request ? 0 : Number(start.slice(9, 12));
    const bodiless = status === 204 || status === 304 || (!this.#request && this.#methods[0] === "HEAD");
    if (status === 204 && (length !== undefined || coding !== undefined)) throw new Error("204 with framing");
    let body = "";
    let trailers: Message["trailers"] = [];
    let end = from;
    let untilClose = false;
    if (bodiless) {
      // Nothing follows the head.
    } else if (coding !== undefined) {
      if (coding !== "chunked") throw new Error(`coding ${coding}`);
      const read = chunked(this.rest, from);
      if (read === undefined) return false;
      ({ body, trailers, end } = read);
    } else if (length !== undefined) {
      if (!/^\d+$/.test(length)) throw new Error(`content-length ${length}`);
      end = from + Number(length);
      if (this.rest.length < end) return false;
      body = this.rest.slice(from, end);
    } else if (!this.#request) {
      if (!closed) return false;
      untilClose = true;
      end = this.rest.length;
      body = this.rest.slice(from);
    }
    if (!this.#request) this.#methods.shift();
    this.messages.push({ start, fields, body, trailers, untilClose });
    this.rest = this.rest.slice(end);
    return true;
  }
}
