/** gRPC streams of guests: a real server in each shape, and hosts that break the rules. */
import assert from "node:assert/strict";
import { createServer } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import * as grpc from "@grpc/grpc-js";
import * as BufferType from "../../../abi/buffer.ts";
import * as GrpcStatus from "../../../abi/grpc-status.ts";
import * as MapType from "../../../abi/map.ts";
import * as Status from "../../../abi/status.ts";
import { GRPC_STREAM_MESSAGE_BYTES } from "../../../runtime/limits.ts";
import { ClusterSet } from "../../../runtime/upstream/clusters.ts";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { clusterConfig, endpoint } from "../../upstream/fixtures.ts";
import { Puppet } from "../puppet.ts";
import type { Argument, Call } from "../puppet.ts";
import { RecordingStats, Stage } from "../stage.ts";

/** Of a message on the wire; grpc-js counts it with the message's own. */
const PREFIX_BYTES = 5;

const identity = { serialize: (value: Buffer): Buffer => value, deserialize: (value: Buffer): Buffer => value };
const CHAT: grpc.ServiceDefinition = {
  Chat: {
    path: "/test.Talk/Chat",
    requestStream: true,
    responseStream: true,
    requestSerialize: identity.serialize,
    requestDeserialize: identity.deserialize,
    responseSerialize: identity.serialize,
    responseDeserialize: identity.deserialize,
  },
};

type Talk = (call: grpc.ServerDuplexStream<Buffer, Buffer>) => void;

async function talker(t: TestContext, talk: Talk): Promise<number> {
  const server = new grpc.Server();
  server.addService(CHAT, { Chat: talk as never });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  t.after(() => server.forceShutdown());
  return port;
}

async function rawPeer(t: TestContext, answer: (stream: ServerHttp2Stream) => void): Promise<number> {
  const server = createServer();
  server.on("stream", answer);
  server.on("session", (session) => session.on("error", () => {}));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function clustersOf(t: TestContext, port: number): Promise<ClusterSet> {
  const clusters = new ClusterSet([clusterConfig([endpoint(port)], { protocol: "HTTP2" })], new RecordingStats());
  await clusters.start();
  t.after(() => clusters.close());
  return clusters;
}

function open(puppet: Puppet, token: number, cluster = "origin"): Call {
  return puppet.call(
    "proxy_grpc_stream",
    ...puppet.text(cluster),
    ...puppet.text("test.Talk"),
    ...puppet.text("Chat"),
    ...puppet.text(encodePairs(["x-meta", "data"])),
    token,
  );
}

function send(puppet: Puppet, token: Argument, message: string, endStream: boolean): Call {
  return puppet.call("proxy_grpc_send", token, ...puppet.text(message), endStream ? 1 : 0);
}

/** What the guest heard of gRPC so far: callback and last argument. */
function heard(stage: Stage): [string, number][] {
  return stage.trace
    .filter(({ name }) => name.startsWith("proxy_on_grpc_"))
    .map(({ name, args }) => [name.slice("proxy_on_grpc_".length), args[2]]);
}

async function closed(stage: Stage): Promise<number> {
  for (;;) {
    const seen = stage.trace.find(({ name }) => name === "proxy_on_grpc_close");
    if (seen !== undefined) return seen.args[2];
    await setTimeout(2);
  }
}

describe("grpc_stream", () => {
  test("initial metadata, messages, trailing metadata and close come in this order, each readable in its callback", async (t) => {
    const port = await talker(t, (call) => {
      const metadata = new grpc.Metadata();
      metadata.set("x-first", String(call.metadata.get("x-meta")[0]));
      call.sendMetadata(metadata);
      call.on("data", (message: Buffer) => call.write(Buffer.from(`echo ${message.toString()}`)));
      call.on("end", () => {
        const trailer = new grpc.Metadata();
        trailer.set("x-last", "bye");
        call.emit("error", { code: grpc.status.ABORTED, details: "enough", metadata: trailer });
      });
    });
    const puppet = new Puppet();
    const [token, p1, s1, p2, s2, p3, s3] = Array.from({ length: 7 }, () => puppet.cell()) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const [code, p4, s4] = [puppet.cell(), puppet.cell(), puppet.cell()];
    const calls = [
      open(puppet, token),
      send(puppet, { load: token }, "one", false),
      send(puppet, { load: token }, "two", true),
    ];
    puppet.on("proxy_on_request_headers", 1, ...calls, send(puppet, { load: token }, "late", false));
    const value = (map: number, key: string, pp: number, sp: number): Call =>
      puppet.call("proxy_get_header_map_value", map, ...puppet.text(key), pp, sp);
    puppet.on(
      "proxy_on_grpc_receive_initial_metadata",
      0,
      value(MapType.GRPC_RECEIVE_INITIAL_METADATA, "x-first", p1, s1),
    );
    puppet.on(
      "proxy_on_grpc_receive",
      0,
      puppet.call("proxy_get_buffer_bytes", BufferType.GRPC_RECEIVE_BUFFER, 0, 99, p2, s2),
    );
    puppet.on(
      "proxy_on_grpc_receive_trailing_metadata",
      0,
      value(MapType.GRPC_RECEIVE_TRAILING_METADATA, "x-last", p3, s3),
    );
    puppet.on(
      "proxy_on_grpc_close",
      0,
      puppet.call("proxy_get_status", code, p4, s4),
      puppet.call("proxy_get_buffer_bytes", BufferType.GRPC_RECEIVE_BUFFER, 0, 99, p2 + 0, s2),
    );
    const stage = Stage.started(puppet, { upstreams: await clustersOf(t, port) });
    stage.stream().requestHead();
    assert.deepEqual(
      calls.map((call) => stage.status(call)),
      [0, 0, 0],
    );
    assert.equal(stage.u32(token) % 4, 2);
    assert.equal(await closed(stage), GrpcStatus.ABORTED);
    assert.deepEqual(
      heard(stage).map(([name]) => name),
      ["receive_initial_metadata", "receive", "receive", "receive_trailing_metadata", "close"],
    );
    assert.equal(stage.given(p1, s1).toString(), "data");
    assert.equal(stage.given(p2, s2).toString(), "echo two");
    assert.equal(stage.given(p3, s3).toString(), "bye");
    assert.equal(stage.u32(code), GrpcStatus.ABORTED);
    assert.equal(stage.given(p4, s4).toString(), "enough");
  });

  test("after the peer's end the token is unknown; a call's token is no stream's; cancel silences", async (t) => {
    const port = await talker(t, (call) => {
      call.on("data", () => {});
    });
    const puppet = new Puppet();
    const token = puppet.cell();
    const calls = [
      open(puppet, token),
      send(puppet, { load: token }, "hello", false),
      puppet.call("proxy_grpc_cancel", { load: token }),
      puppet.call("proxy_grpc_cancel", { load: token }),
      send(puppet, { load: token }, "x", false),
      send(puppet, 5, "x", false),
      send(puppet, 4, "x", false),
      puppet.call("proxy_grpc_close", { load: token }),
      open(puppet, token, "nowhere"),
      puppet.call("proxy_grpc_send", 6, 0x7fff_0000, 8, 0),
    ];
    puppet.on("proxy_on_request_headers", 1, ...calls);
    const stage = Stage.started(puppet, { upstreams: await clustersOf(t, port) });
    stage.stream().requestHead();
    const { BAD_ARGUMENT, INVALID_MEMORY_ACCESS, NOT_FOUND, PARSE_FAILURE } = Status;
    assert.deepEqual(
      calls.map((call) => stage.status(call)),
      [0, 0, 0, NOT_FOUND, NOT_FOUND, BAD_ARGUMENT, BAD_ARGUMENT, NOT_FOUND, PARSE_FAILURE, INVALID_MEMORY_ACCESS],
    );
    await setTimeout(30);
    assert.deepEqual(heard(stage), []);
    assert.ok(stage.log.lines.some((line) => /proxy_grpc_send answers BAD_ARGUMENT: token/.test(line)));
  });

  test("close ends our side; what the peer still says is heard", async (t) => {
    const port = await talker(t, (call) => {
      call.on("data", () => {});
      call.on("end", () => {
        call.write(Buffer.from("after"));
        call.end();
      });
    });
    const puppet = new Puppet();
    const token = puppet.cell();
    const close = puppet.call("proxy_grpc_close", { load: token });
    const sent = send(puppet, { load: token }, "x", false);
    puppet.on("proxy_on_request_headers", 1, open(puppet, token), close, sent);
    const stage = Stage.started(puppet, { upstreams: await clustersOf(t, port) });
    stage.stream().requestHead();
    assert.deepEqual([stage.status(close), stage.status(sent)], [Status.OK, Status.BAD_ARGUMENT]);
    assert.equal(await closed(stage), GrpcStatus.OK);
    assert.deepEqual(
      heard(stage).filter(([name]) => name === "receive"),
      [["receive", 5]],
    );
  });

  const framed = (text: string): Buffer => Buffer.concat([Buffer.from([0, 0, 0, 0, text.length]), Buffer.from(text)]);
  const trailers = (stream: ServerHttp2Stream, status: string): void => {
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status }));
  };
  const PEERS: readonly [
    name: string,
    answer: (stream: ServerHttp2Stream) => void,
    status: number,
    messages: number,
  ][] = [
    [
      "messages cut anywhere and several in one piece",
      (stream) => {
        trailers(stream, "0");
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        const all = Buffer.concat([framed("a"), framed("bc"), framed("")]);
        stream.write(all.subarray(0, 3));
        setImmediate(() => stream.end(all.subarray(3)));
      },
      GrpcStatus.OK,
      3,
    ],
    [
      "trailers only",
      (stream) => stream.respond({ ":status": 200, "grpc-status": "7" }, { endStream: true }),
      GrpcStatus.PERMISSION_DENIED,
      0,
    ],
    ["HTTP 503", (stream) => stream.respond({ ":status": 503 }, { endStream: true }), GrpcStatus.UNAVAILABLE, 0],
    [
      "a compressed message",
      (stream) => {
        stream.respond({ ":status": 200 });
        stream.write(Buffer.from([1, 0, 0, 0, 1, 65]));
      },
      GrpcStatus.INTERNAL,
      0,
    ],
    [
      "a message too long",
      (stream) => {
        stream.respond({ ":status": 200 });
        stream.write(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]));
      },
      GrpcStatus.RESOURCE_EXHAUSTED,
      0,
    ],
    [
      "an end in the middle of a message",
      (stream) => {
        trailers(stream, "0");
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.end(Buffer.from([0, 0, 0, 0, 9, 65]));
      },
      GrpcStatus.INTERNAL,
      0,
    ],
    [
      "no status at all",
      (stream) => {
        stream.respond({ ":status": 200 });
        stream.end(framed("x"));
      },
      GrpcStatus.UNKNOWN,
      1,
    ],
    [
      "a connection that goes away",
      (stream) => {
        stream.respond({ ":status": 200 });
        stream.write(framed("x"));
        setTimeout(20).then(() => stream.session?.destroy(), assert.fail);
      },
      GrpcStatus.UNAVAILABLE,
      1,
    ],
  ];
  for (const [name, answer, status, messages] of PEERS) {
    test(`a peer that sends ${name}: closed once with status ${status}`, async (t) => {
      const port = await rawPeer(t, (stream) => {
        stream.on("error", () => {});
        answer(stream);
      });
      const puppet = new Puppet();
      const token = puppet.cell();
      puppet.on("proxy_on_request_headers", 1, open(puppet, token), send(puppet, { load: token }, "q", false));
      const stage = Stage.started(puppet, { upstreams: await clustersOf(t, port) });
      stage.stream().requestHead();
      assert.equal(await closed(stage), status);
      await setTimeout(10);
      const all = heard(stage);
      assert.equal(all.filter(([one]) => one === "close").length, 1);
      assert.equal(all.filter(([one]) => one === "receive").length, messages);
    });
  }

  test("what waits to be sent is bounded", async (t) => {
    const port = await rawPeer(t, (stream) => {
      stream.on("error", () => {});
      stream.respond({ ":status": 200 });
      stream.pause();
    });
    const puppet = new Puppet();
    const token = puppet.cell();
    const sends = Array.from({ length: 60 }, () => puppet.call("proxy_grpc_send", { load: token }, 65_536, 65_536, 0));
    puppet.on("proxy_on_request_headers", 1, open(puppet, token), ...sends);
    const stage = Stage.started(puppet, { upstreams: await clustersOf(t, port) });
    stage.stream().requestHead();
    const statuses = sends.map((call) => stage.status(call));
    assert.equal(statuses[0], Status.OK);
    assert.equal(statuses.at(-1), Status.BAD_ARGUMENT);
  });

  test("a message has a limit, whatever fuel and memory would allow", async (t) => {
    const said: number[] = [];
    const port = await talker(t, (call) => {
      call.on("data", (message: Buffer) => {
        said.push(message.length);
        if (said.length === 2) call.end();
      });
    });
    const puppet = new Puppet();
    const token = puppet.cell();
    const sizes = [GRPC_STREAM_MESSAGE_BYTES - PREFIX_BYTES, GRPC_STREAM_MESSAGE_BYTES + 1, 1];
    const sends = sizes.map((size) => puppet.call("proxy_grpc_send", { load: token }, 0, size, 0));
    const grows = Array.from({ length: 64 }, () => puppet.grow());
    puppet.on("proxy_on_request_headers", 1, ...grows, open(puppet, token), ...sends);
    const stage = Stage.started(puppet, { upstreams: await clustersOf(t, port) });
    stage.stream().requestHead();
    assert.deepEqual(
      sends.map((call) => stage.status(call)),
      [Status.OK, Status.BAD_ARGUMENT, Status.OK],
    );
    assert.ok(
      stage.log.lines.some((line) => /proxy_grpc_send answers BAD_ARGUMENT: message: more than 4194304/.test(line)),
    );
    assert.equal(await closed(stage), GrpcStatus.OK);
    assert.deepEqual(said, [sizes[0], 1]);
  });
});
