/** The rate limit filter between a real origin and a real rate limit service, for tests that name one setting each. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, before, beforeEach } from "node:test";
import * as Metric from "../../abi/metric.ts";
import type { PluginConfig, RouteAction } from "../../runtime/config/snapshot.ts";
import type { RateLimitConfig } from "../../runtime/config/rate-limit-snapshot.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { ClusterSet } from "../../runtime/upstream/clusters.ts";
import { cluster, forward, route } from "../http/engine.ts";
import { encode, type FilterEngine, perFilter, startFilters } from "./filter-engine.ts";
import { RateLimitPeer } from "./ratelimit-peer.ts";

const PROTO = "envoy/extensions/filters/http/ratelimit/v3/rate_limit.proto";
const PACKAGE = "envoy.extensions.filters.http.ratelimit.v3";
/** No machine is so slow: where an answer is expected, its absence is a failure of the filter. */
const PATIENT = { seconds: 3600 };

export type Fields = Record<string, unknown>;

export interface Setting {
  readonly perRoute?: Fields;
  readonly overrideLimits?: readonly RateLimitConfig[];
  readonly runtime?: Record<string, number>;
  readonly routeLimits?: readonly RateLimitConfig[];
  readonly hostLimits?: readonly RateLimitConfig[];
  readonly more?: Partial<PluginConfig>;
  readonly action?: RouteAction;
  readonly bufferLimitBytes?: number;
  /** Requests from this machine are internal. */
  readonly internal?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
}

/** A rate limit of one fixed entry. */
export const limit = (value: string, stage = 0): RateLimitConfig => ({
  stage,
  disableKey: "",
  actions: [{ kind: "generic_key", key: "generic_key", value }],
});

/** A rate limit of two entries, the second from a request header. */
export const USER: RateLimitConfig = {
  stage: 0,
  disableKey: "",
  actions: [
    { kind: "destination_cluster" },
    { kind: "request_headers", header: "x-user", key: "user", skipIfAbsent: false },
  ],
};

function configuration(fields: Fields): Uint8Array {
  return encode(PROTO, `${PACKAGE}.RateLimit`, {
    domain: "test",
    timeout: PATIENT,
    rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name: "limits" } }, transport_api_version: 2 },
    ...fields,
  });
}

/** Peers of the tests of one file; made before each test and ended after it. */
export class Stage {
  peer!: RateLimitPeer;
  /** Headers of the request that the origin saw last. */
  seen: IncomingHttpHeaders | undefined;
  #origin: Server | undefined;

  constructor() {
    before(() => this.#listen());
    after(() => {
      this.#origin?.closeAllConnections();
      this.#origin?.close();
    });
    beforeEach(async () => {
      this.seen = undefined;
      this.peer = await RateLimitPeer.start();
    });
    afterEach(() => this.peer.stop());
  }

  async #listen(): Promise<void> {
    const origin = createServer((incoming, response) => {
      this.seen = incoming.headers;
      let size = 0;
      incoming.on("data", (chunk: Buffer) => (size += chunk.length));
      incoming.on("end", () => response.writeHead(200, { "x-origin": "yes" }).end(`got ${size}`));
    });
    this.#origin = origin;
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
  }

  /** Runs a test body with an engine, and finds no call open and no connection counted when it is over. */
  async using(fields: Fields, setting: Setting, body: (proxy: FilterEngine) => Promise<void>): Promise<void> {
    const stats = new StatsStore(() => {});
    const upstreams = new ClusterSet([cluster("limits", [this.peer.port], { protocol: "HTTP2" })], stats);
    await upstreams.start();
    const { port } = this.#origin!.address() as AddressInfo;
    const action = setting.action ?? forward("origin", { rateLimits: setting.routeLimits ?? [limit("route")] });
    const override =
      setting.perRoute === undefined
        ? {}
        : perFilter(
            "ratelimit",
            3,
            encode(PROTO, `${PACKAGE}.RateLimitPerRoute`, setting.perRoute),
            setting.overrideLimits,
          );
    const proxy = await startFilters(
      [
        {
          filter: "ratelimit",
          configuration: configuration(fields),
          more: { allowOnHeadersStopIteration: true, ...setting.more },
        },
      ],
      {
        routes: [route("/", action, override)],
        clusters: [cluster("origin", [port], { statName: "origin_stats" })],
        upstreams,
        ...(setting.internal === true ? { manager: { useRemoteAddress: true, internalCidrs: ["127.0.0.0/8"] } } : {}),
        virtualHost: { rateLimits: setting.hostLimits ?? [] },
        ...(setting.runtime === undefined ? {} : { runtime: setting.runtime }),
        ...(setting.bufferLimitBytes === undefined ? {} : { bufferLimitBytes: setting.bufferLimitBytes }),
      },
    );
    try {
      await body(proxy);
      assert.equal(stats.gauge("cluster.limits.upstream_rq_active").value, 0);
      // At debug level host functions say what they refused; that a cluster is missing is wanted here.
      const worth = proxy.log.lines.filter((line) => !line.startsWith("1 "));
      assert.deepEqual(worth, []);
    } finally {
      proxy.close();
      upstreams.close();
    }
  }
}

/** One request on a connection of its own. */
export async function ask(proxy: FilterEngine, headers: Record<string, string> = {}, body?: string): Promise<Answer> {
  const method = body === undefined ? "GET" : "POST";
  const outgoing = request({ host: "127.0.0.1", port: proxy.engine.port, method, headers, agent: false });
  outgoing.end(body);
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode!, body: text, headers: response.headers };
}

/** ok, error, over_limit, failure_mode_allowed of the origin's cluster. */
export function counters(proxy: FilterEngine, prefix = ""): number[] {
  return ["ok", "error", "over_limit", "failure_mode_allowed"].map((name) =>
    proxy.metric(Metric.COUNTER, `cluster.origin_stats.ratelimit.${prefix}${name}`),
  );
}
