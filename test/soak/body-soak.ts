/** Large bodies through the proxy in both directions, and readers and writers that stand still. */
import { Agent, createServer, request } from "node:http";
import type { ClientRequest, IncomingMessage, Server, ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { SoakProxy } from "./proxy.ts";
import type { Way } from "./proxy.ts";

const PIECE = Buffer.alloc(64 * 1024, "sluice ");
/** How long memory is watched once nothing moves any more. */
const STANDSTILL_MS = 1000;

export interface BodyOutcome {
  /** Bytes received, and bytes of resident memory before and at most. */
  readonly received: number;
  readonly beforeBytes: number;
  readonly peakBytes: number;
  readonly seconds: number;
}

export interface StandstillOutcome {
  /** Bytes that were accepted from the fast side while the slow side took none. */
  readonly taken: number;
  readonly beforeBytes: number;
  readonly afterBytes: number;
  /** Whether every body arrived whole once the slow side went on. */
  readonly whole: boolean;
}

/** An upstream that counts what it is sent and sends what `/down/BYTES` asks for; `/hold` reads nothing until {@link release}. */
class Origin {
  readonly server: Server;
  received = 0;
  #sent: { sent: number }[] = [];
  #held: IncomingMessage[] = [];

  private constructor() {
    this.server = createServer((incoming, outgoing) => this.#answer(incoming, outgoing));
  }

  static async start(): Promise<Origin> {
    const origin = new Origin();
    origin.server.listen(0, "127.0.0.1");
    await once(origin.server, "listening");
    return origin;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Bytes handed over for downloads. */
  get sent(): number {
    return this.#sent.reduce((sum, { sent }) => sum + sent, 0);
  }

  get held(): number {
    return this.#held.length;
  }

  release(): void {
    for (const incoming of this.#held.splice(0)) incoming.resume();
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  #answer(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const [, kind, size] = incoming.url!.split("/");
    let seen = 0;
    incoming.on("data", (data: Buffer) => {
      seen += data.length;
      this.received += data.length;
    });
    if (kind === "hold") {
      incoming.pause();
      this.#held.push(incoming);
    }
    if (kind === "down") {
      outgoing.writeHead(200, { "content-length": size });
      this.#sent.push(send(outgoing, Number(size)));
    } else {
      incoming.on("end", () => outgoing.end(String(seen)));
    }
  }
}

/** Writes a body as fast as it is taken; answers what has been handed over so far. */
function send(sink: ServerResponse | ClientRequest, bytes: number): { sent: number } {
  const progress = { sent: 0 };
  const more = (): void => {
    while (progress.sent < bytes) {
      const piece = PIECE.subarray(0, Math.min(PIECE.length, bytes - progress.sent));
      progress.sent += piece.length;
      if (!sink.write(piece)) {
        sink.once("drain", more);
        return;
      }
    }
    sink.end();
  };
  more();
  return progress;
}

function ask(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  agent = new Agent(),
): ClientRequest {
  return request({ host: "127.0.0.1", port, method, path, headers, agent });
}

async function answerOf(outgoing: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  return response;
}

async function withProxy<T>(
  folder: string,
  way: Way,
  body: (proxy: SoakProxy, origin: Origin) => Promise<T>,
): Promise<T> {
  const origin = await Origin.start();
  let proxy: SoakProxy | undefined;
  try {
    proxy = await SoakProxy.start({ folder, upstream: origin.port, workers: 1, way });
    return await body(proxy, origin);
  } finally {
    origin.stop();
    await proxy?.started.stop();
  }
}

/** One body down. */
export function streamDown(folder: string, bytes: number, way: Way): Promise<BodyOutcome> {
  return withProxy(folder, way, async (proxy) => {
    const beforeBytes = proxy.residentBytes();
    const start = performance.now();
    const outgoing = ask(proxy.port, "GET", `/down/${bytes}`);
    outgoing.end();
    const response = await answerOf(outgoing);
    let received = 0;
    response.on("data", (data: Buffer) => (received += data.length));
    await once(response, "end");
    return { received, beforeBytes, peakBytes: proxy.peakBytes(), seconds: (performance.now() - start) / 1000 };
  });
}

/** One body up, chunked or with its length told. */
export function streamUp(folder: string, bytes: number, way: Way, chunked: boolean): Promise<BodyOutcome> {
  return withProxy(folder, way, async (proxy) => {
    const beforeBytes = proxy.residentBytes();
    const start = performance.now();
    const outgoing = ask(
      proxy.port,
      "POST",
      "/up",
      chunked ? { "transfer-encoding": "chunked" } : { "content-length": String(bytes) },
    );
    send(outgoing, bytes);
    const response = await answerOf(outgoing);
    let text = "";
    for await (const piece of response.setEncoding("utf8")) text += String(piece);
    return {
      received: Number(text),
      beforeBytes,
      peakBytes: proxy.peakBytes(),
      seconds: (performance.now() - start) / 1000,
    };
  });
}

/** Downloads whose reader stands still for a while, then goes on. */
export function slowReaders(folder: string, way: Way, count: number, bytes: number): Promise<StandstillOutcome> {
  return withProxy(folder, way, async (proxy, origin) => {
    const agent = new Agent({ maxSockets: count });
    const beforeBytes = proxy.residentBytes();
    const responses = await Promise.all(
      Array.from({ length: count }, () => {
        const outgoing = ask(proxy.port, "GET", `/down/${bytes}`, {}, agent);
        outgoing.end();
        return answerOf(outgoing);
      }),
    );
    await delay(STANDSTILL_MS);
    const afterBytes = proxy.residentBytes();
    const taken = origin.sent;
    const received = await Promise.all(
      responses.map(async (response) => {
        let seen = 0;
        response.on("data", (data: Buffer) => (seen += data.length));
        await once(response, "end");
        return seen;
      }),
    );
    return { taken, beforeBytes, afterBytes, whole: received.every((seen) => seen === bytes) };
  });
}

/** Uploads to an upstream that does not read for a while, then goes on. */
export function slowUpstream(folder: string, way: Way, count: number, bytes: number): Promise<StandstillOutcome> {
  return withProxy(folder, way, async (proxy, origin) => {
    const agent = new Agent({ maxSockets: count });
    const beforeBytes = proxy.residentBytes();
    const uploads = Array.from({ length: count }, () => {
      const outgoing = ask(proxy.port, "POST", "/hold", { "content-length": String(bytes) }, agent);
      return { answer: answerOf(outgoing), progress: send(outgoing, bytes) };
    });
    while (origin.held < count) await delay(10);
    await delay(STANDSTILL_MS);
    const afterBytes = proxy.residentBytes();
    const taken = uploads.reduce((sum, { progress }) => sum + progress.sent, 0);
    origin.release();
    const answers = await Promise.all(
      uploads.map(async ({ answer }) => {
        let text = "";
        for await (const piece of (await answer).setEncoding("utf8")) text += String(piece);
        return Number(text);
      }),
    );
    return { taken, beforeBytes, afterBytes, whole: answers.every((seen) => seen === bytes) };
  });
}

/** Uploads that come a byte at a time: what the proxy holds for each meanwhile. */
export function slowWriters(folder: string, way: Way, count: number, bytes: number): Promise<StandstillOutcome> {
  return withProxy(folder, way, async (proxy, origin) => {
    const agent = new Agent({ maxSockets: count });
    const beforeBytes = proxy.residentBytes();
    const uploads = Array.from({ length: count }, () => {
      const outgoing = ask(proxy.port, "POST", "/up", { "transfer-encoding": "chunked" }, agent);
      return { outgoing, answer: answerOf(outgoing) };
    });
    for (let byte = 0; byte < bytes; byte += 1) {
      for (const { outgoing } of uploads) outgoing.write("x");
      await delay(1);
    }
    const afterBytes = proxy.residentBytes();
    for (const { outgoing } of uploads) outgoing.end();
    const answers = await Promise.all(
      uploads.map(async ({ answer }) => {
        let text = "";
        for await (const piece of (await answer).setEncoding("utf8")) text += String(piece);
        return Number(text);
      }),
    );
    return { taken: origin.received, beforeBytes, afterBytes, whole: answers.every((seen) => seen === bytes) };
  });
}
