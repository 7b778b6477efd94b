/**
 * Filters that do anything by chance, over real sockets: with a shadow beside it a filter's streams are on the wire what
 * they are without; and a shadow that does the same as the live one is found to differ in nothing.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { BodyBuffer } from "../../runtime/codec/body.ts";
import type { HeaderMap } from "../../runtime/codec/headers.ts";
import { DataStatus, HeadersStatus, Phase, TrailersStatus } from "../../runtime/http/filter.ts";
import type { HttpFilter, LocalReply, StreamView } from "../../runtime/http/filter.ts";
import type { Difference } from "../../runtime/wasm/shadow/decision.ts";
import { ShadowExamples } from "../../runtime/wasm/shadow/examples.ts";
import { ShadowPair } from "../../runtime/wasm/shadow/shadow-pair.ts";
import { generator } from "../fuzz/random.ts";
import type { Random } from "../fuzz/random.ts";
import { cluster, Engine, exchange, forward, origin, route } from "../http/engine.ts";

const HEADS = [0, 0, 0, 0, HeadersStatus.STOP_ITERATION, 1, HeadersStatus.STOP_ALL_AND_BUFFER, 4];
const BODIES = [0, 0, 0, DataStatus.STOP_AND_BUFFER, DataStatus.STOP_AND_WATERMARK];
const TRAILERS = [0, 0, TrailersStatus.STOP];

/** What a filter does, in one direction. */
interface Part {
  readonly head: number;
  readonly data: number;
  readonly end: number;
  readonly trailers: number;
  readonly edits: boolean;
  readonly answers: boolean;
  readonly addsTrailers: boolean;
}

interface Script {
  readonly phases: number;
  readonly tag: string;
  readonly request: Part;
  readonly response: Part;
  readonly skips: boolean;
}

function partOf(random: Random): Part {
  return {
    head: HEADS[random(HEADS.length)]!,
    data: BODIES[random(BODIES.length)]!,
    end: BODIES[random(BODIES.length)]!,
    trailers: TRAILERS[random(TRAILERS.length)]!,
    edits: random(2) === 0,
    answers: random(10) === 0,
    addsTrailers: random(4) === 0,
  };
}

function scriptOf(seed: number): Script {
  const random = generator(seed);
  const bit = (phase: number): number => (random(3) > 0 ? phase : 0);
  return {
    phases:
      Phase.REQUEST_HEADERS |
      bit(Phase.REQUEST_DATA) |
      bit(Phase.REQUEST_TRAILERS) |
      bit(Phase.RESPONSE_HEADERS) |
      bit(Phase.RESPONSE_DATA) |
      bit(Phase.RESPONSE_TRAILERS),
    tag: String.fromCharCode(97 + random(26)),
    request: partOf(random),
    response: partOf(random),
    skips: random(8) === 0,
  };
}

const REPLY: LocalReply = { status: 418, body: "own", headers: undefined, details: "own", flag: -1, grpcStatus: -1 };

/** As HttpContext does it: callbacks that it does not have let everything go on. */
class Scripted implements HttpFilter {
  readonly phases: number;
  readonly #script: Script;
  readonly #stream: StreamView;
  #over = false;

  constructor(script: Script, stream: StreamView) {
    this.#script = script;
    this.#stream = stream;
    this.phases = script.phases;
  }

  onRequestHeaders(headers: HeaderMap): number {
    if (this.#script.skips) this.#stream.skipResponse();
    return this.#head(Phase.REQUEST_HEADERS, this.#script.request, headers);
  }
  onRequestData(body: BodyBuffer, endStream: boolean): number {
    if (this.#lacks(Phase.REQUEST_DATA)) return 0;
    if (endStream && this.#script.request.addsTrailers) this.#stream.addRequestTrailers()?.set("x-added", "1");
    return this.#data(this.#script.request, body, endStream);
  }
  onRequestTrailers(trailers: HeaderMap): number {
    return this.#trailers(Phase.REQUEST_TRAILERS, this.#script.request, trailers);
  }
  onResponseHeaders(headers: HeaderMap): number {
    return this.#head(Phase.RESPONSE_HEADERS, this.#script.response, headers);
  }
  onResponseData(body: BodyBuffer, endStream: boolean): number {
    if (this.#lacks(Phase.RESPONSE_DATA)) return 0;
    if (endStream && this.#script.response.addsTrailers) this.#stream.addResponseTrailers()?.set("x-added", "1");
    return this.#data(this.#script.response, body, endStream);
  }
  onResponseTrailers(trailers: HeaderMap): number {
    return this.#trailers(Phase.RESPONSE_TRAILERS, this.#script.response, trailers);
  }
  onLog(): void {}
  onDestroy(): void {
    this.#over = true;
  }

  #lacks(phase: number): boolean {
    return (this.phases & phase) === 0;
  }

  #head(phase: number, part: Part, headers: HeaderMap): number {
    if (this.#lacks(phase)) return 0;
    if (part.edits) headers.set("x-tag", this.#script.tag);
    if (part.answers && !this.#stream.responseStarted && headers.get(":status") !== "418") {
      this.#stream.sendLocalReply(REPLY);
      return HeadersStatus.STOP_ALL_AND_BUFFER;
    }
    return this.#later(part, part.head);
  }
  #data(part: Part, body: BodyBuffer, endStream: boolean): number {
    if (part.edits && endStream) body.splice(body.length, 0, Buffer.from(this.#script.tag));
    return this.#later(part, endStream ? part.end : part.data);
  }
  #trailers(phase: number, part: Part, trailers: HeaderMap): number {
    if (this.#lacks(phase)) return 0;
    if (part.edits) trailers.set("x-tag", this.#script.tag);
    return this.#later(part, part.trailers);
  }
  #later(part: Part, status: number): number {
    if (status !== 0)
      setImmediate(() => {
        if (this.#over) return;
        if (part === this.#script.request) this.#stream.continueRequest();
        else this.#stream.continueResponse();
      });
    return status;
  }
}

test("a shadow is not seen on the wire, and an equal one differs in nothing", async () => {
  const seen: string[] = [];
  const upstream = await origin((socket) => {
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      const head = text.slice(0, end + 4);
      const whole = /transfer-encoding/i.test(head)
        ? /\r\n0\r\n(?:[^\r\n]+\r\n)*\r\n$/.test(text)
        : end > 0 && text.length >= end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (!whole) return;
      seen.push(text);
      text = "";
      const trailers = /x-trailers: 1/i.test(head) ? "x-end: 1\r\n" : "";
      socket.write(
        `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nanswer\r\n4\r\n end\r\n0\r\n${trailers}\r\n`,
      );
    });
  });
  const differences: Difference[] = [];
  const outcomes = {
    trial: { shadowed: (one: Difference) => void differences.push(one) },
    examples: new ShadowExamples(),
  };
  const proxy = await Engine.start({
    routes: [route("/", forward("c"))],
    clusters: [cluster("c", [upstream.port])],
    manager: { enableTrailers: true, generateRequestId: false },
    filters: [
      {
        name: "scripted",
        phases: 0x3f,
        create: (stream) => {
          const [live, shadow] = stream.requestHeaders!.get("x-seeds")!.split(" ");
          const make =
            (seed: string) =>
            (view: StreamView): HttpFilter =>
              new Scripted(scriptOf(Number(seed)), view);
          return shadow === "none" ? make(live!)(stream) : new ShadowPair(stream, make(live!), make(shadow!), outcomes);
        },
      },
    ],
  });
  after(async () => {
    proxy.close();
    await upstream.close();
  });

  const run = async (seeds: string, form: number): Promise<readonly string[]> => {
    seen.length = 0;
    const trailers = form % 2 === 1;
    const body = form < 2 ? "4\r\nbody\r\n5\r\n more\r\n" : "";
    const head = `POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-seeds: ${seeds}\r\nx-trailers: ${trailers ? 1 : 0}\r\n`;
    const request =
      form === 4
        ? head.replace("POST", "GET") + "\r\n"
        : `${head}transfer-encoding: chunked\r\n\r\n${body}0\r\n${trailers ? "x-last: 1\r\n" : ""}\r\n`;
    const received = await exchange(proxy.port, request);
    return [received, ...seen].map((text) =>
      text.replace(/^(?:date|x-envoy-upstream-service-time|x-seeds): .*\r\n/gm, ""),
    );
  };
  for (let seed = 1; seed <= 400; seed++) {
    const form = seed % 5;
    const alone = await run(`${seed} none`, form);
    assert.match(alone[0]!, /^HTTP\/1\.1 \d{3} /, `seed ${seed}`);
    assert.deepEqual(await run(`${seed} ${seed + 1000}`, form), alone, `seed ${seed}`);
    differences.length = 0;
    assert.deepEqual(await run(`${seed} ${seed}`, form), alone, `seed ${seed}`);
    assert.deepEqual(differences, [{ kinds: [], undecided: false, text: "" }], `seed ${seed}`);
  }
});
