/** Clusters whose answers a test writes: what the router and calls of guests see of the network. */
import { HeaderMap } from "../codec/headers.ts";
import type { ResetReason } from "../errors.ts";
import { frame } from "../upstream/grpc-frame.ts";
import type { Upstream, UpstreamHandler, UpstreamRequest, Upstreams } from "../upstream/request.ts";
import { settled } from "./clock.ts";

/** A request as an upstream gets it: the router's, or a call of a guest. */
export interface UpstreamSeen {
  readonly cluster: string;
  /** Pseudo-headers included; fields of one name are joined with ", ". */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly bytes: Buffer;
  readonly trailers: Readonly<Record<string, string>>;
}

/** What an upstream does with a request. */
export interface UpstreamAnswer {
  /** Default 200. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** A list is sent piece by piece. */
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[];
  readonly trailers?: Readonly<Record<string, string>>;
  /** The connection breaks for this reason instead of an answer, or, with `status`, after the answer's last piece of body. */
  readonly reset?: ResetReason;
}

/** `undefined`: no answer, ever. */
export type Responder = (request: UpstreamSeen) => UpstreamAnswer | undefined | Promise<UpstreamAnswer | undefined>;

/** The answer of a gRPC service: one serialized message, or a status other than 0 with its text. */
export function grpcAnswer(message: Uint8Array | null, status = 0, text = ""): UpstreamAnswer {
  return {
    headers: { "content-type": "application/grpc" },
    ...(message === null ? {} : { body: frame(message) }),
    trailers: { "grpc-status": String(status), ...(text === "" ? {} : { "grpc-message": text }) },
  };
}

/** Fields as a plain object, for assertions. */
export function plainFields(map: HeaderMap | null): Record<string, string> {
  const fields: Record<string, string> = {};
  const list = map?.list ?? [];
  for (let at = 0; at < list.length; at += 2) {
    const [name, value] = [list[at]!, list[at + 1]!];
    fields[name] = Object.hasOwn(fields, name) ? `${fields[name]}, ${value}` : value;
  }
  return fields;
}

export function headerList(fields: Readonly<Record<string, string | readonly string[]>> = {}): string[] {
  return Object.entries(fields).flatMap(([name, value]) =>
    (typeof value === "string" ? [value] : value).flatMap((one) => [name.toLowerCase(), one]),
  );
}

export class ScriptedUpstreams implements Upstreams {
  readonly #upstreams = new Map<string, ScriptedUpstream>();
  /** Requests so far, oldest first. */
  readonly seen: UpstreamSeen[] = [];
  readonly #work: Work = { answering: 0 };

  constructor(responders: Readonly<Record<string, Responder>>) {
    for (const [name, responder] of Object.entries(responders)) {
      this.#upstreams.set(name, new ScriptedUpstream(name, responder, this.seen, this.#work));
    }
  }

  /** Answers are on their way. */
  get busy(): boolean {
    return this.#work.answering > 0;
  }

  get(name: string): Upstream | undefined {
    return this.#upstreams.get(name);
  }
}

/** How many answers are being given, by all upstreams of a test. */
interface Work {
  answering: number;
}

class ScriptedUpstream implements Upstream {
  readonly name: string;
  readonly hostCount = 1;
  readonly #responder: Responder;
  readonly #seen: UpstreamSeen[];
  readonly #work: Work;

  constructor(name: string, responder: Responder, seen: UpstreamSeen[], work: Work) {
    this.name = name;
    this.#responder = responder;
    this.#seen = seen;
    this.#work = work;
  }

  request(handler: UpstreamHandler): UpstreamRequest {
    return new ScriptedRequest({ cluster: this.name, seen: this.#seen, work: this.#work }, handler, this.#responder);
  }

  raw(handler: UpstreamHandler): UpstreamRequest {
    return this.request(handler);
  }
}

class ScriptedRequest implements UpstreamRequest {
  readonly hostname = "";
  readonly address = "";
  readonly unsentBytes = 0;
  readonly #cluster: string;
  readonly #handler: UpstreamHandler;
  readonly #responder: Responder;
  readonly #seen: UpstreamSeen[];
  readonly #work: Work;
  #headers: HeaderMap | null = null;
  readonly #pieces: Buffer[] = [];
  #over = false;
  #resume: (() => void) | null = null;
  #paused = false;

  constructor(
    of: { readonly cluster: string; readonly seen: UpstreamSeen[]; readonly work: Work },
    handler: UpstreamHandler,
    responder: Responder,
  ) {
    this.#cluster = of.cluster;
    this.#seen = of.seen;
    this.#work = of.work;
    this.#handler = handler;
    this.#responder = responder;
  }

  sendHeaders(headers: HeaderMap, endStream: boolean): void {
    // A filter may change the map for the next attempt.
    this.#headers = headers.clone();
    this.#handler.onUpstreamReady("192.0.2.1:80", "192.0.2.2:40000", null);
    if (endStream) void this.#answer(null);
  }

  sendData(chunk: Buffer, endStream: boolean): boolean {
    this.#pieces.push(Buffer.from(chunk));
    if (endStream) void this.#answer(null);
    return true;
  }

  sendTrailers(trailers: HeaderMap): void {
    void this.#answer(trailers);
  }

  flush(): void {}

  pauseReading(): void {
    this.#paused = true;
  }

  resumeReading(): void {
    this.#paused = false;
    this.#resume?.();
    this.#resume = null;
  }

  reset(): void {
    this.#over = true;
  }

  async #answer(trailers: HeaderMap | null): Promise<void> {
    const bytes = Buffer.concat(this.#pieces);
    const request: UpstreamSeen = {
      cluster: this.#cluster,
      headers: plainFields(this.#headers),
      body: bytes.toString("utf8"),
      bytes,
      trailers: plainFields(trailers),
    };
    this.#seen.push(request);
    this.#work.answering++;
    try {
      // Events come from a later task.
      await settled();
      const answer = await this.#responder(request);
      if (answer !== undefined) await this.#deliver(answer);
    } finally {
      this.#work.answering--;
    }
  }

  async #deliver({ status, headers, body, trailers, reset }: UpstreamAnswer): Promise<void> {
    if (reset !== undefined && status === undefined) {
      this.#break(reset);
      return;
    }
    const code = status ?? 200;
    const pieces = (Array.isArray(body) ? body : body === undefined ? [] : [body]) as readonly (string | Uint8Array)[];
    const bodyless = pieces.length === 0 && trailers === undefined && reset === undefined;
    const steps: (() => void)[] = [
      () =>
        this.#handler.onUpstreamHeaders(
          code,
          new HeaderMap([":status", String(code), ...headerList(headers)]),
          bodyless,
        ),
      ...pieces.map((piece, n) => () => {
        const last = n === pieces.length - 1 && trailers === undefined && reset === undefined;
        this.#handler.onUpstreamData(typeof piece === "string" ? Buffer.from(piece) : Buffer.from(piece), last);
      }),
    ];
    if (trailers !== undefined) steps.push(() => this.#handler.onUpstreamTrailers(new HeaderMap(headerList(trailers))));
    else if (reset !== undefined) steps.push(() => this.#break(reset));
    for (const step of steps) {
      if (this.#paused) await new Promise<void>((resolve) => (this.#resume = resolve));
      if (this.#over) return;
      step();
      if (!this.#over) this.#handler.onUpstreamReadComplete();
      await settled();
    }
  }

  #break(reason: ResetReason): void {
    if (this.#over) return;
    this.#over = true;
    this.#handler.onUpstreamReset(reason, "", false);
  }
}
