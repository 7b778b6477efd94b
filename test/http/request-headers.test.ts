import assert from "node:assert/strict";
import { test } from "node:test";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { HttpConnectionManagerConfig } from "../../runtime/config/snapshot.ts";
import { RequestHeaders } from "../../runtime/http/request-headers.ts";
import { StreamInfo } from "../../runtime/observe/stream-info.ts";
import { connectionSample } from "../observe/stream-sample.ts";

function info(peer = "10.1.2.3"): StreamInfo {
  return new StreamInfo(connectionSample(`${peer}:999`, "192.168.0.9:10000", { direction: 0 }), 0, 0);
}

function run(
  config: Partial<HttpConnectionManagerConfig>,
  fields: string[],
  peer?: string,
): { headers: HeaderMap; info: StreamInfo } {
  const headers = new HeaderMap([":authority", "h", ":path", "/", ":method", "GET", ":scheme", "http", ...fields]);
  const facts = info(peer);
  const whole = {
    internalCidrs: [],
    upgrades: [],
    routeConfig: { internalOnlyHeaders: ["x-secret"] },
    xffNumTrustedHops: 0,
    via: "",
    generateRequestId: true,
    ...config,
  } as unknown as HttpConnectionManagerConfig;
  new RequestHeaders(whole).mutate(headers, facts);
  return { headers, info: facts };
}

test("without use_remote_address x-forwarded-for stays and its last address is trusted", () => {
  const { headers, info: facts } = run({}, ["x-forwarded-for", "1.1.1.1, 2.2.2.2"]);
  assert.equal(headers.get("x-forwarded-for"), "1.1.1.1, 2.2.2.2");
  assert.equal(facts.remoteIp, "2.2.2.2");
  assert.equal(facts.remoteAddress, "2.2.2.2:0");
  assert.equal(run({ xffNumTrustedHops: 1 }, ["x-forwarded-for", "1.1.1.1, 2.2.2.2"]).info.remoteIp, "1.1.1.1");
  assert.equal(run({}, ["x-forwarded-for", "not an address"]).info.remoteAddress, "10.1.2.3:999");
});

test("with use_remote_address the peer is appended and the protocol is ours", () => {
  const { headers, info: facts } = run({ useRemoteAddress: true }, [
    "x-forwarded-for",
    "1.1.1.1",
    "x-forwarded-proto",
    "https",
  ]);
  assert.equal(headers.get("x-forwarded-for"), "1.1.1.1, 10.1.2.3");
  assert.equal(headers.get("x-forwarded-proto"), "http");
  assert.equal(headers.get("x-envoy-external-address"), "10.1.2.3");
  assert.equal(facts.remoteIp, "10.1.2.3");
  assert.equal(run({ useRemoteAddress: true }, [], "127.0.0.1").headers.get("x-forwarded-for"), "192.168.0.9");
  assert.equal(run({ useRemoteAddress: true, skipXffAppend: true }, []).headers.has("x-forwarded-for"), false);
  const hops = run({ useRemoteAddress: true, xffNumTrustedHops: 1 }, [
    "x-forwarded-for",
    "1.1.1.1, 2.2.2.2",
    "x-forwarded-proto",
    "https",
  ]);
  assert.equal(hops.info.remoteIp, "2.2.2.2");
  assert.equal(hops.headers.get("x-forwarded-proto"), "https");
  assert.equal(hops.headers.get(":scheme"), "https");
});

test("headers that steer the router are taken from strangers and left to internal callers", () => {
  const given = [
    "x-envoy-retry-on",
    "5xx",
    "x-envoy-internal",
    "true",
    "x-secret",
    "s",
    "x-envoy-max-retries",
    "9",
    "x-kept",
    "k",
  ];
  const outside = run({}, given).headers;
  for (const name of ["x-envoy-retry-on", "x-envoy-internal", "x-secret", "x-envoy-max-retries"])
    assert.equal(outside.has(name), false, name);
  assert.equal(outside.get("x-kept"), "k");
  const inside = run({ internalCidrs: ["10.0.0.0/8"], useRemoteAddress: true }, given).headers;
  assert.equal(inside.get("x-envoy-retry-on"), "5xx");
  assert.equal(inside.get("x-envoy-internal"), "true");
  assert.equal(inside.get("x-secret"), "s");
  const forwarded = run({ internalCidrs: ["10.0.0.0/8"], useRemoteAddress: true }, [
    "x-forwarded-for",
    "1.1.1.1",
    ...given,
  ]).headers;
  assert.equal(forwarded.has("x-envoy-retry-on"), false);
});

test("fault headers of the fault filter are nobody's to remove", () => {
  assert.equal(run({}, ["x-envoy-fault-abort-request", "503"]).headers.get("x-envoy-fault-abort-request"), "503");
});

test("a request id is made when missing and made anew at the edge", () => {
  assert.match(
    run({}, []).headers.get("x-request-id")!,
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  );
  assert.equal(run({}, ["x-request-id", "given"]).headers.get("x-request-id"), "given");
  assert.notEqual(run({ useRemoteAddress: true }, ["x-request-id", "given"]).headers.get("x-request-id"), "given");
  const kept = run({ useRemoteAddress: true, preserveExternalRequestId: true }, ["x-request-id", "given"]);
  assert.equal(kept.headers.get("x-request-id"), "given");
  assert.equal(run({ generateRequestId: false }, []).headers.has("x-request-id"), false);
});

test("via and scheme", () => {
  assert.equal(run({ via: "sluice" }, ["via", "1.1 a"]).headers.get("via"), "1.1 a, sluice");
  assert.equal(run({}, ["x-forwarded-proto", "ftp"]).headers.get(":scheme"), "http");
  assert.equal(run({}, []).headers.get("x-forwarded-proto"), "http");
});
