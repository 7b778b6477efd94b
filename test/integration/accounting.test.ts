/** What the access log is told of streams that guests end, and what many streams leave behind. */
import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import * as MapType from "../../abi/map.ts";
import * as StreamType from "../../abi/stream.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import type { StreamInfo } from "../../runtime/observe/stream-info.ts";
import { cluster, Downstream, exchange, fixedOrigin, forward, route } from "../http/engine.ts";
import { Puppet } from "../wasm/puppet.ts";
import type { Call } from "../wasm/puppet.ts";
import { Troupe, until } from "./troupe.ts";
import type { Part, TroupeOptions } from "./troupe.ts";

const POST = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
const GRPC =
  "POST /s/m HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/grpc\r\ncontent-length: 5\r\n\r\nhello";

function reply(puppet: Puppet, status: number, body: string, grpcStatus = -1): Call {
  return puppet.call(
    "proxy_send_local_response",
    status,
    ...puppet.text("from guest"),
    ...puppet.text(body),
    0,
    0,
    grpcStatus,
  );
}

/** What the origin behind a troupe has seen. */
const UPSTREAMS = new WeakMap<Troupe, string[]>();

async function troupe(t: TestContext, parts: readonly Part[], more: Partial<TroupeOptions> = {}): Promise<Troupe> {
  const up = await fixedOrigin("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nworld");
  const made = await Troupe.start(parts, {
    routes: [route("/", forward("up"))],
    clusters: [cluster("up", [up.port])],
    ...more,
  });
  UPSTREAMS.set(made, up.seen);
  t.after(async () => {
    made.close();
    await up.close();
  });
  return made;
}

function facts(info: StreamInfo): readonly [number, string, number, number] {
  return [info.responseCode, info.responseCodeDetails, info.bytesReceived, info.bytesSent];
}

describe("accounting", () => {
  const CASES: readonly (readonly [string, string, (puppet: Puppet) => unknown, ReturnType<typeof facts>])[] = [
    ["nothing", POST, () => {}, [200, "via_upstream", 5, 5]],
    ["a reply", POST, (p) => p.on("proxy_on_request_body", 1, reply(p, 418, "guest!")), [418, "from_guest", 5, 6]],
    [
      "a gRPC reply",
      GRPC,
      (p) => p.on("proxy_on_request_headers", 1, reply(p, 503, "no", 7)),
      [200, "from_guest", 0, 0],
    ],
    [
      "a reply to the response",
      POST,
      (p) => p.on("proxy_on_response_headers", 1, reply(p, 500, "instead")),
      [500, "from_guest", 5, 7],
    ],
    ["a trap", POST, (p) => p.on("proxy_on_request_headers", 0, p.trap()), [503, "wasm_fail_stream{trap}", 0, 0]],
    ["a trap, late", POST, (p) => p.on("proxy_on_response_body", 0, p.trap()), [200, "wasm_fail_stream{trap}", 5, 0]],
    [
      "a closed stream",
      POST,
      (p) => p.on("proxy_on_request_body", 1, p.call("proxy_close_stream", StreamType.REQUEST)),
      [0, "wasm_close_stream", 5, 0],
    ],
  ];
  for (const [name, request, script, want] of CASES) {
    test(name, async (t) => {
      const puppet = new Puppet();
      script(puppet);
      const made = await troupe(t, [{ puppet }]);
      const received = await exchange(made.engine.port, request);
      await made.quiet();
      assert.deepEqual(facts(made.engine.finished[0]!), want);
      if (request === GRPC) assert.match(received, /^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*grpc-status: 7\r\n/);
    });
  }

  test("a downstream that leaves a paused stream", async (t) => {
    const puppet = new Puppet();
    puppet.on("proxy_on_request_headers", 1);
    const made = await troupe(t, [{ puppet }]);
    const downstream = await Downstream.open(made.engine.port);
    downstream.send(POST);
    await until(() => made.lives.length === 1);
    downstream.close();
    await made.quiet();
    assert.deepEqual(facts(made.engine.finished[0]!), [0, "downstream_remote_disconnect", 5, 0]);
    assert.equal(made.engine.finished[0]!.hasFlag(ResponseFlag.DC), true);
    assert.equal(made.engine.counter("http.test.downstream_rq_rx_reset"), 1);
  });
});

describe("many", () => {
  test("streams through three filters, one of which waits for a timer, leave nothing behind", async (t) => {
    const edit = new Puppet();
    edit.on(
      "proxy_on_request_headers",
      0,
      edit.call("proxy_add_header_map_value", 0, ...edit.text("x-a"), ...edit.text("1")),
    );
    edit.on(
      "proxy_on_response_headers",
      0,
      edit.call("proxy_add_header_map_value", 2, ...edit.text("x-a"), ...edit.text("1")),
    );
    const wait = new Puppet();
    wait.on("proxy_on_request_headers", 1, wait.call("set_timer", 1));
    wait.on("sluice_on_timer", 0, wait.call("proxy_continue_stream", StreamType.REQUEST));
    const made = await troupe(t, [{ puppet: edit }, { puppet: wait }, { puppet: new Puppet() }]);
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc") as () => void;
    const heap = async (streams: number): Promise<number> => {
      await pipelined(made, streams);
      made.forget();
      UPSTREAMS.get(made)!.length = 0;
      gc();
      return process.memoryUsage().heapUsed;
    };
    await heap(2000);
    const before = await heap(1000);
    const after = await heap(10_000);
    assert.ok(after - before < 1024 * 1024, `the heap grew by ${after - before} bytes`);
    await made.quiet();
    for (const stage of made.stages) assert.equal([...stage.instance.contexts.all()].length, 1);
  });

  test("header fields from a guest pass, in both directions", async (t) => {
    const puppet = new Puppet();
    const value = puppet.text("v".repeat(1000));
    for (const [callback, map] of [
      ["proxy_on_request_headers", MapType.HTTP_REQUEST_HEADERS],
      ["proxy_on_response_headers", MapType.HTTP_RESPONSE_HEADERS],
    ] as const) {
      const name = puppet.text("x-many");
      puppet.on(
        callback,
        0,
        ...Array.from({ length: 100 }, () => puppet.call("proxy_add_header_map_value", map, ...name, ...value)),
      );
    }
    const made = await troupe(t, [{ puppet }]);
    const received = await exchange(made.engine.port, POST);
    assert.equal(received.split("\r\nx-many: ").length, 101);
    await made.quiet();
  });
});

/** `count` requests over a few connections, sixteen at a time each. */
async function pipelined(made: Troupe, count: number): Promise<void> {
  const connections = 10;
  const request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
  const burst = 16;
  const one = async (): Promise<void> => {
    const downstream = await Downstream.open(made.engine.port);
    for (let left = Math.ceil(count / connections); left > 0; left -= burst) {
      downstream.received = "";
      downstream.send(request.repeat(burst));
      await downstream.until((text) => text.split("\r\n\r\nworld").length > burst);
      assert.equal(downstream.received.split("HTTP/1.1 200 OK\r\n").length, burst + 1);
    }
    downstream.close();
  };
  await Promise.all(Array.from({ length: connections }, one));
}
