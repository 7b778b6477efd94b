/** CEL expressions of a real guest: `expr_create`, `expr_evaluate`, `expr_delete`. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as Status from "../../../abi/status.ts";
import { HeaderMap } from "../../../runtime/codec/headers.ts";
import type { ClusterConfig, RouteConfigEntry, VirtualHostConfig } from "../../../runtime/config/snapshot.ts";
import { MAX_EXPRESSION_BYTES, MAX_EXPRESSIONS } from "../../../runtime/limits.ts";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { STREAM_PROPERTIES } from "../../../runtime/wasm/values/stream-properties.ts";
import { calledOn } from "../foreign-calls.ts";
import type { Answer, ForeignCall } from "../foreign-calls.ts";
import { double, long } from "../little-endian.ts";
import { Puppet } from "../puppet.ts";
import { SECURE } from "../secure-facts.ts";
import { Stage } from "../stage.ts";
import type { FakeStream } from "../stage.ts";

/** A stream of which everything is known. */
function complete(stream: FakeStream): void {
  const { info } = stream;
  stream.requestHeaders!.list.push("x-b", "1", "x-b", "2", "referer", "r", "user-agent", "u", "x-request-id", "id");
  stream.responseHeaders = info.responseHeaders = new HeaderMap([":status", "200", "grpc-status", "5"]);
  stream.responseTrailers = new HeaderMap(["t", "1"]);
  Object.assign(info, {
    completeMs: 12.5,
    requestCompleteMs: 2,
    upstreamLastByteMs: 10,
    responseCode: 200,
    responseCodeDetails: "via_upstream",
    bytesReceived: 11,
    bytesSent: 22,
    upstreamHost: "10.0.0.1:80",
    upstreamAttempts: 2,
    upstreamLocalAddress: "10.0.0.9:1234",
    upstreamTransportFailure: "refused",
    downstreamTransportFailure: "no shared cipher",
    connectionTerminationDetails: "by a rule",
    upstreamSecure: SECURE,
    connection: { ...info.connection, secure: SECURE },
    dynamicMetadata: new Map([
      ["envoy.lb", { canary: true, weight: 1.5, list: ["a", 1], none: null, deep: { k: "v" } }],
    ]),
    route: { name: "r\u00f6ute", metadata: { ns: { key: "value" } } } as unknown as RouteConfigEntry,
    virtualHost: { name: "vh" } as unknown as VirtualHostConfig,
    cluster: { name: "backend", metadata: { ns: { tier: 1 } }, endpoints: [1, 2, 3] } as unknown as ClusterConfig,
  });
}

function token(number: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(number);
  return bytes;
}

/** Creates each expression, then evaluates each. */
function evaluated(prepare: (stream: FakeStream) => void, ...sources: readonly string[]): Answer {
  const creates = sources.map((source): ForeignCall => ["expr_create", Buffer.from(source)]);
  const evaluates = sources.map((_, n): ForeignCall => ["expr_evaluate", token(n)]);
  const answer = calledOn({ config: { fuel: 2_000_000_000 } }, prepare, ...creates, ...evaluates);
  assert.deepEqual(
    answer.statuses.slice(0, sources.length),
    sources.map(() => Status.OK),
  );
  return { ...answer, statuses: answer.statuses.slice(sources.length), results: answer.results.slice(sources.length) };
}

const CERTIFICATES = {
  tls_version: "string",
  subject_local_certificate: "string",
  subject_peer_certificate: "string",
  dns_san_local_certificate: "string",
  dns_san_peer_certificate: "string",
  uri_san_local_certificate: "string",
  uri_san_peer_certificate: "string",
  sha256_peer_certificate_digest: "string",
  peer_certificate: "string",
};

/** The type of every attribute of streams, as Envoy's attributes have it. */
const TYPES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  request: {
    path: "string",
    url_path: "string",
    query: "string",
    host: "string",
    scheme: "string",
    method: "string",
    headers: "map",
    headers_bytes: "int",
    referer: "string",
    useragent: "string",
    time: "google.protobuf.Timestamp",
    id: "string",
    protocol: "string",
    duration: "google.protobuf.Duration",
    size: "int",
    total_size: "int",
  },
  response: {
    code: "int",
    code_details: "string",
    flags: "int",
    grpc_status: "int",
    headers: "map",
    headers_bytes: "int",
    trailers: "map",
    size: "int",
    total_size: "int",
    backend_latency: "google.protobuf.Duration",
  },
  connection: {
    id: "uint",
    mtls: "bool",
    requested_server_name: "string",
    ...CERTIFICATES,
    transport_failure_reason: "string",
    termination_details: "string",
  },
  source: { address: "string", port: "int" },
  destination: { address: "string", port: "int" },
  upstream: {
    address: "string",
    port: "int",
    local_address: "string",
    ...CERTIFICATES,
    transport_failure_reason: "string",
    request_attempt_count: "uint",
    num_endpoints: "uint",
  },
};

describe("expressions", () => {
  test("every attribute of a stream has Envoy's type", () => {
    for (const [group, types] of Object.entries(TYPES)) {
      const names = Object.keys(types);
      const { results, stage } = evaluated(complete, ...names.map((one) => `type(${group}.${one}) == ${types[one]}`));
      names.forEach((name, n) => {
        assert.deepEqual(
          [...results[n]!],
          [1],
          `${group}.${name}: ${stage.log.lines.find((line) => line.includes("expr_"))}`,
        );
      });
    }
  });

  test("no attribute is left out of that", () => {
    for (const [group, readers] of Object.entries(STREAM_PROPERTIES)) {
      assert.deepEqual(Object.keys(readers).toSorted(), Object.keys(TYPES[group] ?? {}).toSorted(), group);
    }
  });

  const cases: readonly [source: string, expected: string][] = [
    ["request.path", "/a?b=c"],
    ["request.headers['X-A'] + request.headers['x-b']", "11,2"],
    ["request.headers.exists(name, name == 'x-b')", "\x01"],
    ["size(request.headers)", long(9)],
    ["response.code + 1", long(201)],
    ["connection.id", long(7)],
    ["response.code >= 200 && request.path.startsWith('/a')", "\x01"],
    ["request.time", long(1_700_000_000_123_000_000n)],
    ["request.time + request.duration > request.time", "\x01"],
    ["metadata.filter_metadata['envoy.lb'].weight * 2.0", double(3)],
    ["metadata.filter_metadata['envoy.lb'].deep", encodePairs(["k", "v"]).latin1Slice()],
    ["[1u, 2u].map(n, n + 1u)", encodePairs([long(2), "", long(3), ""]).latin1Slice()],
    ["{'a': true}", encodePairs(["a", "\x01"]).latin1Slice()],
    ["has(metadata.filter_metadata.missing) ? 'yes' : 'no'", "no"],
    ["plugin_name + '/' + plugin_root_id", "puppet/root"],
    ["node.id + xds.node.cluster + node.locality.region", "node-1frontr1"],
    ["node.metadata.weights[1]", double(2)],
    ["xds.cluster_name", "backend"],
    ["cluster_metadata.filter_metadata.ns.tier == 1.0", "\x01"],
    ["xds.route_metadata.filter_metadata.ns.key", "value"],
    ["xds.route_name == 'r\u00f6ute'", "\x01"],
    ["xds.listener_direction", long(1)],
    ["upstream.port", long(80)],
    ["b'\\x00\\xff'", "\x00\xff"],
    ["''", ""],
  ];
  test("values of all kinds, encoded as properties are", () => {
    const { results, statuses } = evaluated(complete, ...cases.map(([source]) => source));
    cases.forEach(([source, expected], n) => {
      assert.equal(statuses[n], Status.OK, source);
      assert.equal(results[n]!.latin1Slice(), expected, source);
    });
  });

  test("a path alone has the property's very bytes, UTF-8 or not", () => {
    const set = (stream: FakeStream): void => void stream.requestHeaders!.list.push("x-raw", "\xff\x80");
    const { results } = evaluated(set, "request.headers['x-raw']");
    assert.equal(results[0]!.latin1Slice(), "\xff\x80");
  });

  test("what set_property wrote is bytes, or text when it was declared so", () => {
    const prepare = (stream: FakeStream): void => {
      stream.info.filterState = new Map([["wasm.mine", Buffer.from("v")]]);
    };
    const declared = Buffer.from("\x0a\x04mine\x18\x01", "latin1");
    const calls: ForeignCall[] = [
      ["expr_create", "mine == b'v' && filter_state['wasm.mine'] == b'v'"],
      ["expr_create", "mine + 'w'"],
      ["expr_evaluate", token(0)],
      ["declare_property", declared],
      ["expr_evaluate", token(1)],
    ];
    const { results, statuses } = calledOn({}, prepare, ...calls);
    assert.deepEqual(statuses, [0, 0, 0, 0, 0]);
    assert.deepEqual([results[2]!.latin1Slice(), results[4]!.latin1Slice()], ["\x01", "vw"]);
  });

  test("errors: INTERNAL_FAILURE; a value without bytes, or with too many: SERIALIZATION_FAILURE; the reason is told", () => {
    // Four copies of itself in each of twelve levels: some steps to make, gigabytes to write out.
    const bomb = Array.from({ length: 12 }).reduce<string>(
      (inner) => `[${inner}].map(x, [x, x, x, x])[0]`,
      `'${"y".repeat(100)}'`,
    );
    const { statuses, stage } = evaluated(complete, "request.headers.absent", "1 / 0", "null", "int", bomb);
    const { INTERNAL_FAILURE, SERIALIZATION_FAILURE } = Status;
    assert.deepEqual(statuses, [
      INTERNAL_FAILURE,
      INTERNAL_FAILURE,
      SERIALIZATION_FAILURE,
      SERIALIZATION_FAILURE,
      SERIALIZATION_FAILURE,
    ]);
    assert.ok(stage.log.lines.some((line) => line.includes("INTERNAL_FAILURE: no such key")));
    assert.ok(stage.log.lines.some((line) => line.includes("INTERNAL_FAILURE: division by zero")));
  });

  test("no expression, an unknown function or too long a text: BAD_ARGUMENT, and where", () => {
    const sources = ["1 +", "nothing(1)", "x".repeat(MAX_EXPRESSION_BYTES + 1)];
    const { statuses, stage } = calledOn({}, () => {}, ...sources.map((one): ForeignCall => ["expr_create", one]));
    assert.deepEqual(statuses, [Status.BAD_ARGUMENT, Status.BAD_ARGUMENT, Status.BAD_ARGUMENT]);
    assert.ok(stage.log.lines.some((line) => /BAD_ARGUMENT: argument: unexpected end at character 4/.test(line)));
    assert.ok(stage.log.lines.some((line) => /BAD_ARGUMENT: argument: no function "nothing"/.test(line)));
  });

  test("tokens: unknown is NOT_FOUND, of a wrong size BAD_ARGUMENT; a deleted one is gone, and deleting twice is harmless", () => {
    const calls: ForeignCall[] = [
      ["expr_evaluate", token(0)],
      ["expr_evaluate", "12345"],
      ["expr_delete", "1"],
      ["expr_create", "1"],
      ["expr_create", "2"],
      ["expr_delete", token(0)],
      ["expr_delete", token(0)],
      ["expr_evaluate", token(0)],
      ["expr_evaluate", token(1)],
    ];
    const { BAD_ARGUMENT, NOT_FOUND, OK } = Status;
    const { statuses, results } = calledOn({}, () => {}, ...calls);
    assert.deepEqual(statuses, [NOT_FOUND, BAD_ARGUMENT, BAD_ARGUMENT, OK, OK, OK, OK, NOT_FOUND, OK]);
    assert.deepEqual([results[3]!.readUInt32LE(0), results[4]!.readUInt32LE(0)], [0, 1]);
    assert.equal(results[8]!.latin1Slice(), long(2));
  });

  test("endless work ends the evaluation, then the callback: fuel counts its steps", () => {
    const loop = "[1,2,3,4,5,6,7,8,9,10]";
    const deep = `${loop}.all(a, ${loop}.all(b, ${loop}.all(c, ${loop}.all(d, ${loop}.all(e, ${loop}.all(f, true))))))`;
    const calls: ForeignCall[] = [
      ["expr_create", deep],
      ["expr_evaluate", token(0)],
    ];
    const { stage } = calledOn({ config: { fuel: 100_000_000 } }, () => {}, ...calls);
    assert.match(stage.plugin.lastFailure, /out of fuel/);
  });

  test("looks into large values take steps for their size", () => {
    const ten = "[0,1,2,3,4,5,6,7,8,9]";
    const often = (what: string): string => `${ten}.all(a, ${ten}.all(b, ${ten}.all(c, ${what})))`;
    const large = (stream: FakeStream): void => {
      complete(stream);
      for (let n = 0; n < 1000; n++) stream.requestHeaders!.list.push(`x-${n}`, "v".repeat(10));
      stream.requestHeaders!.list.push("x-long", "v".repeat(60_000));
      stream.info.dynamicMetadata!.set("large", { list: Array.from({ length: 5000 }, () => 1) });
    };
    const looks = [
      "size(request.headers) > 0",
      "request.headers.exists(name, name == 'none') || true",
      "request.headers['x-long'].size() > 0",
      "request.headers == request.headers",
      "metadata.filter_metadata.large.list[0] == 1.0",
    ];
    const small = evaluated(complete, ...looks.map(often));
    assert.deepEqual(small.statuses, [0, 0, Status.INTERNAL_FAILURE, 0, Status.INTERNAL_FAILURE]);
    const { statuses, stage } = evaluated(large, ...looks.map(often), ...looks);
    const failures = looks.map(() => Status.INTERNAL_FAILURE);
    assert.deepEqual(statuses, [...failures, ...looks.map(() => 0)]);
    assert.equal(stage.log.lines.filter((line) => line.includes("takes too many steps")).length, looks.length);
  });

  test("there is a bound on how many there are", () => {
    const puppet = new Puppet();
    const [name, text] = [puppet.text("expr_create"), puppet.text("1")];
    const create = puppet.call("proxy_call_foreign_function", ...name, ...text, 0, 0);
    puppet.on("proxy_on_tick", 0, create);
    const stage = Stage.started(puppet);
    for (let n = 0; n < MAX_EXPRESSIONS; n++) stage.instance.expressions.create("1");
    const root = stage.plugin.root!;
    stage.instance.callWith(root, stage.instance.export("proxy_on_tick")!, "proxy_on_tick", []);
    assert.equal(stage.status(create), Status.BAD_ARGUMENT);
  });

  test("streams of their own begin with the expressions of the start, and keep none of each other's", () => {
    const puppet = new Puppet();
    const create = (source: string): ReturnType<Puppet["call"]> =>
      puppet.call("proxy_call_foreign_function", ...puppet.text("expr_create"), ...puppet.text(source), 0, 0);
    const evaluate = (number: number): ReturnType<Puppet["call"]> =>
      puppet.call("proxy_call_foreign_function", ...puppet.text("expr_evaluate"), ...puppet.text(token(number)), 0, 0);
    const [first, second] = [evaluate(0), evaluate(1)];
    puppet.on("proxy_on_configure", 1, create("1")).on("proxy_on_request_headers", 0, first, second, create("2"));
    const stage = Stage.started(puppet, { config: { isolation: "stream" } });
    for (let n = 0; n < 3; n++) {
      const stream = stage.stream();
      stream.requestHead();
      const { instance } = stream.filter as unknown as { readonly instance: Stage["instance"] };
      const status = (at: number): number => stage.bytes(at + 4, 4, instance).readInt32LE();
      assert.deepEqual([status(first.at), status(second.at)], [Status.OK, Status.NOT_FOUND]);
      stream.finish();
    }
  });
});
