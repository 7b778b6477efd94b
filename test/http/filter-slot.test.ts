import assert from "node:assert/strict";
import { test } from "node:test";
import type { HeaderMap } from "../../runtime/codec/headers.ts";
import { Phase } from "../../runtime/http/filter.ts";
import type { HttpFilter, HttpFilterFactory, StreamView } from "../../runtime/http/filter.ts";
import { cluster, Engine, exchange, fixedOrigin, forward, route } from "./engine.ts";

/** Marks responses, unless the request asks it not to look at them. */
class Marker implements HttpFilter {
  readonly #stream: StreamView;
  constructor(stream: StreamView) {
    this.#stream = stream;
  }
  onRequestHeaders(headers: HeaderMap): number {
    if (headers.has("x-skip")) this.#stream.skipResponse();
    return 0;
  }
  onRequestData(): number {
    return 0;
  }
  onRequestTrailers(): number {
    return 0;
  }
  onResponseHeaders(headers: HeaderMap): number {
    headers.add("x-marked", "yes");
    return 0;
  }
  onResponseData(): number {
    return 0;
  }
  onResponseTrailers(): number {
    return 0;
  }
  onLog(): void {}
  onDestroy(): void {}
}

test("a filter that skips the response is not called for it, in that stream only", async (t) => {
  const upstream = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  const marker: HttpFilterFactory = {
    name: "marker",
    phases: Phase.REQUEST_HEADERS | Phase.RESPONSE_HEADERS | Phase.RESPONSE_DATA,
    create: (stream) => new Marker(stream),
  };
  const proxy = await Engine.start({
    routes: [route("/", forward("c"))],
    clusters: [cluster("c", [upstream.port])],
    filters: [marker],
  });
  t.after(async () => {
    proxy.close();
    await upstream.close();
  });
  const end = "Connection: close\r\n\r\n";
  assert.match(await exchange(proxy.port, `GET / HTTP/1.1\r\nHost: h\r\n${end}`), /x-marked: yes/);
  assert.doesNotMatch(await exchange(proxy.port, `GET / HTTP/1.1\r\nHost: h\r\nX-Skip: 1\r\n${end}`), /x-marked/);
  assert.match(await exchange(proxy.port, `GET / HTTP/1.1\r\nHost: h\r\n${end}`), /x-marked: yes/);
});
