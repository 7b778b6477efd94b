import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as Status from "../../../abi/status.ts";
import { HeaderMap } from "../../../runtime/codec/headers.ts";
import type { ClusterConfig, RouteConfigEntry, VirtualHostConfig } from "../../../runtime/config/snapshot.ts";
import { MAX_FILTER_STATE_ENTRIES } from "../../../runtime/limits.ts";
import { encodePairs } from "../../../runtime/wasm/values/pairs.ts";
import { endpoint } from "../../upstream/fixtures.ts";
import { double, long as int } from "../little-endian.ts";
import { Puppet } from "../puppet.ts";
import { SECURE } from "../secure-facts.ts";
import type { FakeStream } from "../stage.ts";
import { Stage } from "../stage.ts";

const pairs = (...list: string[]): string => encodePairs(list).toString("latin1");

/** Reads a property in the log phase of a stream that `prepare` has filled. */
function read(path: string, prepare: (stream: FakeStream) => void = () => {}): string | number {
  const puppet = new Puppet();
  const [pp, sp] = [puppet.cell(), puppet.cell()];
  const get = puppet.call("proxy_get_property", ...puppet.text(path.replaceAll(">", "\0")), pp, sp);
  puppet.on("proxy_on_log", 0, get);
  const stage = Stage.started(puppet, { config: { vmId: "vm", rootId: "root", name: "puppet" } });
  const stream = stage.stream();
  stream.requestHead();
  prepare(stream);
  stream.finish();
  return stage.status(get) === Status.OK ? stage.given(pp, sp).toString("latin1") : stage.status(get);
}

/** A finished stream. */
function finished(stream: FakeStream): void {
  const { info } = stream;
  stream.responseHead([":status", "200", "x-r", "1", "grpc-status", "5"]);
  stream.responseTrailers = new HeaderMap(["t", "1"]);
  Object.assign(info, {
    completeMs: 12.5,
    requestCompleteMs: 2,
    upstreamLastByteMs: 10,
    responseCode: 200,
    responseCodeDetails: "via_upstream",
    flags: 5,
    bytesReceived: 11,
    bytesSent: 22,
    upstreamHost: "127.0.0.1:81",
    upstreamAttempts: 2,
    upstreamLocalAddress: "10.0.0.9:1234",
    upstreamTransportFailure: "",
    dynamicMetadata: new Map([
      ["envoy.lb", { canary: true, weight: 1.5, name: "x", list: ["a", 1], none: null, deep: { k: "v" } }],
    ]),
    route: { name: "r\u00f6ute", metadata: { ns: { key: "value" } } } as unknown as RouteConfigEntry,
    virtualHost: { name: "vh", metadata: { ns: { owner: "team" } } } as unknown as VirtualHostConfig,
    cluster: {
      name: "backend",
      metadata: { ns: { tier: 1 } },
      endpoints: [endpoint(80), { ...endpoint(81), metadata: { ns: { zone: "z" } } }, endpoint(82)],
    } as unknown as ClusterConfig,
  });
}

describe("encodings", () => {
  const cases: [path: string, expected: string | number][] = [
    ["request>path", "/a?b=c"],
    ["request>path>", "/a?b=c"],
    ["request>url_path", "/a"],
    ["request>query", "b=c"],
    ["request>host", "host"],
    ["request>scheme", "http"],
    ["request>method", "GET"],
    ["request>headers>X-A", "1"],
    [
      "request>headers",
      pairs(":method", "GET", ":path", "/a?b=c", ":authority", "host", ":scheme", "http", "x-a", "1"),
    ],
    ["request>headers_bytes", int(50)],
    ["request>time", int(1_700_000_000_123_000_000n)],
    ["request>duration", int(12_500_000)],
    ["request>protocol", "HTTP/1.1"],
    ["request>size", int(11)],
    ["request>total_size", int(61)],
    ["request>referer", Status.NOT_FOUND],
    ["request>nonsense", Status.NOT_FOUND],
    ["request", Status.NOT_FOUND],
    ["request>constructor", Status.NOT_FOUND],
    ["__proto__", Status.NOT_FOUND],
    ["response>code", int(200)],
    ["response>code_details", "via_upstream"],
    ["response>flags", int(5)],
    ["response>grpc_status", int(5)],
    ["response>headers>x-r", "1"],
    ["response>trailers>t", "1"],
    ["response>size", int(22)],
    ["response>backend_latency", int(8_000_000)],
    ["connection>id", int(7)],
    ["connection>mtls", "\0"],
    ["connection_id", int(7)],
    ["source>address", "10.1.2.3:4444"],
    ["source>port", int(4444)],
    ["destination>address", "127.0.0.1:10000"],
    ["destination>port", int(10_000)],
    ["upstream>address", "127.0.0.1:81"],
    ["upstream>port", int(81)],
    ["upstream>local_address", "10.0.0.9:1234"],
    ["upstream>request_attempt_count", int(2)],
    ["upstream>num_endpoints", int(3)],
    ["upstream>transport_failure_reason", Status.NOT_FOUND],
    ["metadata>filter_metadata>envoy.lb>canary", "\x01"],
    ["metadata>filter_metadata>envoy.lb>weight", double(1.5)],
    ["metadata>filter_metadata>envoy.lb>name", "x"],
    ["metadata>filter_metadata>envoy.lb>list", pairs("a", "", double(1), "")],
    ["metadata>filter_metadata>envoy.lb>list>0", "a"],
    ["metadata>filter_metadata>envoy.lb>list>2", Status.NOT_FOUND],
    ["metadata>filter_metadata>envoy.lb>deep", pairs("k", "v")],
    ["metadata>filter_metadata>envoy.lb>none", Status.SERIALIZATION_FAILURE],
    ["metadata>filter_metadata>none>x", Status.NOT_FOUND],
    ["xds>route_name", Buffer.from("r\u00f6ute").toString("latin1")],
    ["route_name", Buffer.from("r\u00f6ute").toString("latin1")],
    ["xds>virtual_host_name", "vh"],
    ["xds>cluster_name", "backend"],
    ["cluster_name", "backend"],
    ["xds>route_metadata>filter_metadata>ns>key", "value"],
    ["xds>cluster_metadata>filter_metadata>ns>tier", double(1)],
    ["xds>route_metadata", metadataText()],
    ["xds>virtual_host_metadata>filter_metadata>ns>owner", "team"],
    ["xds>upstream_host_metadata>filter_metadata>ns>zone", "z"],
    ["upstream_host_metadata>filter_metadata>ns>zone", "z"],
    ["xds>filter_chain_name", "chain"],
    ["xds>listener_direction", int(1)],
    ["xds>node>id", "node-1"],
    ["xds>node", "\x0a\x06node-1"],
    ["node>metadata>tier", "edge"],
    ["xds>node>metadata>weights>1", double(2)],
    ["xds>node>locality>zone", "z1"],
    ["xds>node>locality", "\x0a\x02r1\x12\x02z1\x1a\x02s1"],
    ["plugin_name", "puppet"],
    ["plugin_root_id", "root"],
    ["plugin_vm_id", "vm"],
    ["unknown", Status.NOT_FOUND],
    ["", Status.NOT_FOUND],
  ];
  for (const [path, expected] of cases) {
    test(path || "(empty)", () => {
      assert.equal(read(path, finished), expected);
    });
  }
});

/** Metadata { filter_metadata: { ns: { key: "value" } } }, written out field by field. */
function metadataText(): string {
  const value = "\x1a\x05value";
  const field = `\x0a\x03key\x12${String.fromCharCode(value.length)}${value}`;
  const struct = `\x0a${String.fromCharCode(field.length)}${field}`;
  const entry = `\x0a\x02ns\x12${String.fromCharCode(struct.length)}${struct}`;
  return `\x0a${String.fromCharCode(entry.length)}${entry}`;
}

describe("TLS", () => {
  const secure = (stream: FakeStream): void =>
    void Object.assign(stream.info, {
      connection: { ...stream.info.connection, secure: SECURE },
      upstreamSecure: SECURE,
      downstreamTransportFailure: "no shared cipher",
      connectionTerminationDetails: "by a rule",
    });
  const texts: [name: string, expected: string][] = [
    ["tls_version", "TLSv1.3"],
    ["subject_local_certificate", "CN=here"],
    ["subject_peer_certificate", "CN=there"],
    ["dns_san_local_certificate", "DNS:here"],
    ["dns_san_peer_certificate", "DNS:there"],
    ["uri_san_local_certificate", "URI:here"],
    ["uri_san_peer_certificate", "URI:there"],
    ["sha256_peer_certificate_digest", "sha256 of there"],
    ["peer_certificate", "-----BEGIN%20CERTIFICATE-----%0Athere%2B%2F%3D%0A-----END%20CERTIFICATE-----%0A"],
  ];
  for (const side of ["connection", "upstream"]) {
    test(`of ${side}: texts, the first of several names, the certificate as it can stand in a URL`, () => {
      for (const [name, expected] of texts) {
        assert.equal(read(`${side}>${name}`, secure), expected, name);
        assert.equal(read(`${side}>${name}`), Status.NOT_FOUND, name);
      }
    });
  }
  test("mtls is one byte; why a connection failed or was ended is told", () => {
    assert.equal(read("connection>mtls", secure), "\x01");
    assert.equal(read("connection>transport_failure_reason", secure), "no shared cipher");
    assert.equal(read("connection>termination_details", secure), "by a rule");
  });
});

describe("what is not there yet", () => {
  for (const path of [
    "upstream>address",
    "upstream>port",
    "response>code",
    "request>duration",
    "xds>cluster_name",
    "metadata>filter_metadata>x",
  ]) {
    test(path, () => {
      assert.equal(read(path), Status.NOT_FOUND);
    });
  }
  test("a malformed content-length is no trap", () => {
    assert.equal(
      read("request>size", (stream) => stream.requestHeaders!.set("content-length", "many")),
      int(0),
    );
  });
});

describe("set_property", () => {
  test("is read back by the same path, by other filters of the stream too", () => {
    const puppet = new Puppet();
    const path = puppet.text("my.thing\0part");
    const [pp, sp] = [puppet.cell(), puppet.cell()];
    const set = puppet.call("proxy_set_property", ...path, ...puppet.text("\x01\x02"));
    puppet.on("proxy_on_request_headers", 0, set, puppet.call("proxy_get_property", ...path, pp, sp));
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.requestHead();
    assert.equal(stage.status(set), Status.OK);
    assert.equal(stage.given(pp, sp).toString("latin1"), "\x01\x02");
    assert.deepEqual([...stream.info.filterState!.keys()], ["wasm.my.thing\0part"]);
  });

  test("bad pointers, no stream, too many", () => {
    const puppet = new Puppet();
    const outside = puppet.call("proxy_set_property", 0x7fff_0000, 4, 0, 0);
    const get = puppet.call("proxy_get_property", 0x7fff_0000, 4, 0, 0);
    const more = puppet.call("proxy_set_property", ...puppet.text("one-more"), 0, 0);
    const root = puppet.call("proxy_set_property", ...puppet.text("x"), 0, 0);
    const rootGet = puppet.call("proxy_get_property", ...puppet.text("request\0path"), puppet.cell(), puppet.cell());
    const rootName = puppet.call("proxy_get_property", ...puppet.text("plugin_root_id"), puppet.cell(), puppet.cell());
    puppet.on("proxy_on_configure", 1, root, rootGet, rootName);
    puppet.on("proxy_on_request_headers", 0, outside, get, more);
    const stage = Stage.started(puppet);
    const stream = stage.stream();
    stream.info.filterState = new Map(
      Array.from({ length: MAX_FILTER_STATE_ENTRIES }, (_, n) => [`x${n}`, Buffer.alloc(0)]),
    );
    stream.requestHead();
    assert.equal(stage.status(outside), Status.INVALID_MEMORY_ACCESS);
    assert.equal(stage.status(get), Status.INVALID_MEMORY_ACCESS);
    assert.equal(stage.status(more), Status.BAD_ARGUMENT);
    assert.equal(stage.status(root), Status.NOT_FOUND);
    assert.equal(stage.status(rootGet), Status.NOT_FOUND);
    assert.equal(stage.status(rootName), Status.OK);
  });
});
