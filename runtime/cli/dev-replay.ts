/** Requests that `sluice dev` has seen, sent again to each new version, and where the answers differ. */
import type { Difference, Replays } from "./dev-screen.ts";
import { decodePairs } from "../wasm/values/pairs.ts";
import { MAX_REPLAYED_REQUESTS, MAX_SHOWN_DIFFERENCES, REPLAY_TIMEOUT_MS } from "../limits.ts";

/** A request as it came, hop-by-hop fields left out. */
export interface Recorded {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Fields that differ from answer to answer without a reason. */
const VOLATILE: ReadonlySet<string> = new Set(["date", "x-request-id", "x-envoy-upstream-service-time", "age", "etag"]);
/** What the proxy or the client makes anew. */
const OWN: ReadonlySet<string> = new Set([
  "host", "connection", "content-length", "transfer-encoding", "expect", "keep-alive", "upgrade", "te", "trailer",
  "x-request-id", "x-forwarded-proto", "x-envoy-expected-rq-timeout-ms", "x-envoy-internal",
]); // prettier-ignore

/** Reads the recorder's log text; undefined for anything else. */
export function parseRecorded(message: string): Recorded | undefined {
  const found = /recorded ([0-9a-f]+) ([0-9a-f]*)$/.exec(message);
  if (found === null) return undefined;
  const bytes = Buffer.from(found[1]!, "hex");
  const list = decodePairs(bytes, 0, bytes.length);
  if (list === undefined) return undefined;
  const headers: Record<string, string> = {};
  let [method, path] = ["", ""];
  for (let at = 0; at + 1 < list.length; at += 2) {
    const [name, value] = [list[at]!, list[at + 1]!];
    if (name === ":method") method = value;
    else if (name === ":path") path = value;
    else if (name === ":authority") headers["host"] = value;
    else if (!name.startsWith(":") && !OWN.has(name)) headers[name] = value;
  }
  if (method === "" || path === "") return undefined;
  return { method, path, headers, body: Buffer.from(found[2]!, "hex") };
}

export class RequestReplays implements Replays {
  readonly what = "request";
  readonly #requests = new Map<string, Recorded>();
  readonly #answers = new Map<string, Answer>();

  get size(): number {
    return this.#requests.size;
  }

  take(message: string): boolean {
    const recorded = parseRecorded(message);
    if (recorded === undefined || recorded.method === "CONNECT") return false;
    this.#add(recorded);
    return true;
  }

  /** The newest few are kept, each once. */
  #add(request: Recorded): void {
    const key = keyOf(request);
    this.#requests.delete(key);
    this.#requests.set(key, request);
    for (const oldest of this.#requests.keys()) {
      if (this.#requests.size <= MAX_REPLAYED_REQUESTS) break;
      this.#requests.delete(oldest);
      this.#answers.delete(oldest);
    }
  }

  async prime(origin: string): Promise<void> {
    for (const [key, request] of this.#requests)
      if (!this.#answers.has(key)) this.#answers.set(key, await ask(origin, request));
  }

  async compare(origin: string): Promise<Difference[]> {
    const differences: Difference[] = [];
    for (const [key, request] of this.#requests) {
      const before = this.#answers.get(key);
      const answer = await ask(origin, request);
      this.#answers.set(key, answer);
      if (before === undefined) continue;
      const lines = differenceOf(before, answer);
      if (lines.length > 0)
        differences.push({
          what: `${request.method} ${request.path}`,
          lines: lines.slice(0, MAX_SHOWN_DIFFERENCES),
        });
    }
    return differences;
  }
}

/** Lines `- before` and `+ after` of status, fields and body. */
export function differenceOf(before: Answer, after: Answer): string[] {
  const lines: string[] = [];
  const line = (sign: string, name: string, value: string): void => void lines.push(`${sign} ${name}: ${value}`);
  if (before.status !== after.status) {
    line("-", "status", String(before.status));
    line("+", "status", String(after.status));
  }
  for (const name of [...new Set([...before.headers.keys(), ...after.headers.keys()])].sort()) {
    const [old, fresh] = [before.headers.get(name), after.headers.get(name)];
    if (old === fresh) continue;
    if (old !== undefined) line("-", name, old);
    if (fresh !== undefined) line("+", name, fresh);
  }
  if (before.body !== after.body) {
    line("-", "body", shown(before.body));
    line("+", "body", shown(after.body));
  }
  return lines;
}

async function ask(origin: string, { method, path, headers, body }: Recorded): Promise<Answer> {
  const { request } = await import("undici");
  try {
    const answer = await request(new URL(path, origin), {
      method: method as "GET",
      headers: { ...headers, "x-sluice-replay": "1" },
      body: body.length === 0 ? null : body,
      headersTimeout: REPLAY_TIMEOUT_MS,
      bodyTimeout: REPLAY_TIMEOUT_MS,
    });
    const fields = Object.entries(answer.headers).flatMap(([name, value]) =>
      value === undefined || VOLATILE.has(name) ? [] : [[name, String(value)] as const],
    );
    return { status: answer.statusCode, headers: new Map(fields), body: await answer.body.text() };
  } catch (error) {
    // No answer is an answer too: the version may have ended the connection.
    return { status: 0, headers: new Map(), body: error instanceof Error ? error.message : String(error) };
  }
}

function keyOf({ method, path, headers, body }: Recorded): string {
  return JSON.stringify([method, path, headers, body.toString("base64")]);
}

function shown(body: string): string {
  const text = JSON.stringify(body);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
