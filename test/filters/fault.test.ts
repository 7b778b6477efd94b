/** The fault filter over real sockets, field by field. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import * as Metric from "../../abi/metric.ts";
import type { RuntimeValue } from "../../runtime/config/snapshot.ts";
import { ResponseFlag } from "../../runtime/errors.ts";
import { cluster, forward, route } from "../http/engine.ts";
import { encode, type FilterEngine, perFilter, startFilters } from "./filter-engine.ts";

const PROTO = "envoy/extensions/filters/http/fault/v3/fault.proto";
const TYPE = "envoy.extensions.filters.http.fault.v3.HTTPFault";
const ALL = { numerator: 100 };
const ABORT = { http_status: 503, percentage: ALL };
const BIG_BODY = 32 * 1024;

type Fields = Record<string, unknown>;
interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly ms: number;
}

let origin: Server;
before(async () => {
  origin = createServer((incoming, response) => {
    incoming.resume();
    incoming.on("end", () => response.end(incoming.url === "/big" ? "x".repeat(BIG_BODY) : "hello"));
  });
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
});
after(() => {
  origin.closeAllConnections();
  origin.close();
});

interface Setting {
  readonly perRoute?: Fields;
  readonly runtime?: Readonly<Record<string, RuntimeValue>>;
}

async function start(fields: Fields, setting: Setting = {}): Promise<FilterEngine> {
  const { port } = origin.address() as AddressInfo;
  const override = setting.perRoute === undefined ? {} : perFilter("fault", 7, encode(PROTO, TYPE, setting.perRoute));
  return startFilters(
    [{ filter: "fault", configuration: encode(PROTO, TYPE, fields), more: { statPrefix: "http.test." } }],
    {
      routes: [route("/special", forward("origin"), override), route("/", forward("origin"))],
      clusters: [cluster("origin", [port])],
      ...(setting.runtime === undefined ? {} : { runtime: setting.runtime }),
    },
  );
}

function ask(filters: FilterEngine, headers: Record<string, string> = {}, path = "/"): Promise<Answer> {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { port: filters.engine.port, host: "127.0.0.1", path, headers, agent: false },
      (response) => {
        let body = "";
        response.on("data", (data) => (body += data));
        response.on("end", () =>
          resolve({ status: response.statusCode!, headers: response.headers, body, ms: performance.now() - began }),
        );
      },
    );
    outgoing.on("error", reject);
    outgoing.end();
  });
}

const counter = (filters: FilterEngine, name: string): number =>
  filters.metric(Metric.COUNTER, `http.test.fault.${name}`);
const active = (filters: FilterEngine): number => filters.metric(Metric.GAUGE, "http.test.fault.active_faults");

describe("abort", () => {
  interface Case {
    readonly what: string;
    readonly fields: Fields;
    readonly headers?: Record<string, string>;
    readonly setting?: Setting;
    readonly status: number;
  }
  const byHeader = (percentage: object = ALL): Fields => ({ abort: { header_abort: {}, percentage } });
  const cases: readonly Case[] = [
    { what: "http_status", fields: { abort: ABORT }, status: 503 },
    { what: "another http_status", fields: { abort: { http_status: 429, percentage: ALL } }, status: 429 },
    { what: "no percentage is never", fields: { abort: { http_status: 503 } }, status: 200 },
    { what: "0 %", fields: { abort: { http_status: 503, percentage: { numerator: 0 } } }, status: 200 },
    {
      what: "10,000 of TEN_THOUSAND",
      fields: { abort: { http_status: 503, percentage: { numerator: 10_000, denominator: 1 } } },
      status: 503,
    },
    {
      what: "a million of MILLION",
      fields: { abort: { http_status: 503, percentage: { numerator: 1_000_000, denominator: 2 } } },
      status: 503,
    },
    {
      what: "more than the denominator is always",
      fields: { abort: { http_status: 503, percentage: { numerator: 500 } } },
      status: 503,
    },
    {
      what: "runtime percent over the configured one",
      fields: { abort: ABORT },
      setting: { runtime: { "fault.http.abort.abort_percent": 0 } },
      status: 200,
    },
    {
      what: "runtime status",
      fields: { abort: ABORT },
      setting: { runtime: { "fault.http.abort.http_status": 418 } },
      status: 418,
    },
    {
      what: "runtime status out of range",
      fields: { abort: ABORT },
      setting: { runtime: { "fault.http.abort.http_status": 99 } },
      status: 200,
    },
    {
      what: "own runtime key",
      fields: { abort: ABORT, abort_percent_runtime: "mine" },
      setting: { runtime: { mine: 0 } },
      status: 200,
    },
    { what: "header_abort without the header", fields: byHeader(), status: 200 },
    { what: "header_abort", fields: byHeader(), headers: { "x-envoy-fault-abort-request": "404" }, status: 404 },
    {
      what: "header_abort below 200",
      fields: byHeader(),
      headers: { "x-envoy-fault-abort-request": "199" },
      status: 200,
    },
    {
      what: "header_abort above 599",
      fields: byHeader(),
      headers: { "x-envoy-fault-abort-request": "600" },
      status: 200,
    },
    {
      what: "header_abort with no number",
      fields: byHeader(),
      headers: { "x-envoy-fault-abort-request": "5x3" },
      status: 200,
    },
    {
      what: "the header's 0 %",
      fields: byHeader(),
      headers: { "x-envoy-fault-abort-request": "503", "x-envoy-fault-abort-request-percentage": "0" },
      status: 200,
    },
    {
      what: "the header's 100 %",
      fields: byHeader(),
      headers: { "x-envoy-fault-abort-request": "503", "x-envoy-fault-abort-request-percentage": "100" },
      status: 503,
    },
    {
      what: "the header's percentage is capped",
      fields: byHeader({ numerator: 0 }),
      headers: { "x-envoy-fault-abort-request": "503", "x-envoy-fault-abort-request-percentage": "100" },
      status: 200,
    },
    {
      what: "the header is nothing to a fixed abort",
      fields: { abort: { http_status: 503, percentage: { numerator: 0 } } },
      headers: { "x-envoy-fault-abort-request": "503" },
      status: 200,
    },
    { what: "upstream_cluster that is the route's", fields: { abort: ABORT, upstream_cluster: "origin" }, status: 503 },
    { what: "upstream_cluster that is another", fields: { abort: ABORT, upstream_cluster: "other" }, status: 200 },
    {
      what: "downstream_nodes with the node",
      fields: { abort: ABORT, downstream_nodes: ["a", "b"] },
      headers: { "x-envoy-downstream-service-node": "b" },
      status: 503,
    },
    {
      what: "downstream_nodes with another node",
      fields: { abort: ABORT, downstream_nodes: ["a", "b"] },
      headers: { "x-envoy-downstream-service-node": "c" },
      status: 200,
    },
    { what: "downstream_nodes without the header", fields: { abort: ABORT, downstream_nodes: ["a"] }, status: 200 },
    { what: "max_active_faults 0", fields: { abort: ABORT, max_active_faults: { value: 0 } }, status: 200 },
    {
      what: "max_active_faults by runtime",
      fields: { abort: ABORT },
      setting: { runtime: { "fault.http.max_active_faults": 0 } },
      status: 200,
    },
  ];
  for (const { what, fields, headers, setting, status } of cases) {
    it(what, async () => {
      const filters = await start(fields, setting);
      try {
        const answer = await ask(filters, headers);
        assert.equal(answer.status, status);
        if (status !== 200) assert.equal(answer.body, "fault filter abort");
        assert.equal(counter(filters, "aborts_injected"), status === 200 ? 0 : 1);
      } finally {
        filters.close();
      }
    });
  }

  it("tells itself in flag, details and statistics, and leaves no active fault", async () => {
    const filters = await start({ abort: ABORT });
    try {
      const answer = await ask(filters, { "x-envoy-downstream-service-cluster": "caller" });
      assert.equal(answer.headers["content-type"], "text/plain");
      const info = filters.engine.finished[0]!;
      assert.equal(info.responseCodeDetails, "fault_filter_abort");
      assert.ok(info.hasFlag(ResponseFlag.FI));
      assert.equal(active(filters), 0);
      assert.equal(counter(filters, "caller.aborts_injected"), 1);
    } finally {
      filters.close();
    }
  });

  it("keeps no statistics of the downstream cluster when told so", async () => {
    const filters = await start({ abort: ABORT, disable_downstream_cluster_stats: true });
    try {
      await ask(filters, { "x-envoy-downstream-service-cluster": "caller" });
      assert.equal(counter(filters, "caller.aborts_injected"), 0);
      assert.equal(counter(filters, "aborts_injected"), 1);
    } finally {
      filters.close();
    }
  });

  it("gRPC: fixed, by header, by runtime", async () => {
    const grpc = { "content-type": "application/grpc" };
    const table: readonly [Fields, Record<string, string>, Setting, string][] = [
      [{ abort: { grpc_status: 5, percentage: ALL } }, {}, {}, "5"],
      [{ abort: { header_abort: {}, percentage: ALL } }, { "x-envoy-fault-abort-grpc-request": "14" }, {}, "14"],
      [{ abort: { grpc_status: 5, percentage: ALL } }, {}, { runtime: { "fault.http.abort.grpc_status": 7 } }, "7"],
    ];
    for (const [fields, headers, setting, status] of table) {
      const filters = await start(fields, setting);
      try {
        const answer = await ask(filters, { ...grpc, ...headers });
        assert.equal(answer.status, 200);
        assert.equal(answer.headers["grpc-status"], status);
        assert.equal(answer.headers["grpc-message"], "fault filter abort");
      } finally {
        filters.close();
      }
    }
  });
});

describe("headers", () => {
  const matchers: readonly [string, object, Record<string, string>, boolean][] = [
    ["present", { name: "X-A", present_match: true }, { "x-a": "" }, true],
    ["present_match false", { name: "x-a", present_match: false }, {}, true],
    ["nothing said means present", { name: "x-a" }, {}, false],
    ["exact", { name: "x-a", string_match: { exact: "yes" } }, { "x-a": "yes" }, true],
    ["exact, other case", { name: "x-a", string_match: { exact: "yes" } }, { "x-a": "YES" }, false],
    ["exact, case ignored", { name: "x-a", string_match: { exact: "yes", ignore_case: true } }, { "x-a": "YES" }, true],
    ["prefix", { name: "x-a", string_match: { prefix: "ye" } }, { "x-a": "yes" }, true],
    ["suffix", { name: "x-a", string_match: { suffix: "es" } }, { "x-a": "yes" }, true],
    ["contains", { name: "x-a", string_match: { contains: "e" } }, { "x-a": "no" }, false],
    [
      "safe_regex matches the whole value",
      { name: "x-a", string_match: { safe_regex: { regex: "y.s" } } },
      { "x-a": "yes" },
      true,
    ],
    [
      "safe_regex on a part only",
      { name: "x-a", string_match: { safe_regex: { regex: "y.s" } } },
      { "x-a": "yes!" },
      false,
    ],
    ["range", { name: "x-a", range_match: { start: -5, end: 10 } }, { "x-a": "-5" }, true],
    ["range's end is outside", { name: "x-a", range_match: { start: -5, end: 10 } }, { "x-a": "10" }, false],
    ["range of no number", { name: "x-a", range_match: { start: 0, end: 10 } }, { "x-a": "five" }, false],
    ["inverted", { name: "x-a", string_match: { exact: "yes" }, invert_match: true }, { "x-a": "no" }, true],
    ["inverted on a missing header", { name: "x-a", string_match: { exact: "yes" }, invert_match: true }, {}, false],
    ["missing as empty", { name: "x-a", string_match: { exact: "" }, treat_missing_header_as_empty: true }, {}, true],
    [":path", { name: ":path", string_match: { prefix: "/" } }, {}, true],
  ];
  for (const [what, matcher, headers, holds] of matchers) {
    it(what, async () => {
      const filters = await start({ abort: ABORT, headers: [matcher] });
      try {
        assert.equal((await ask(filters, headers)).status, holds ? 503 : 200);
      } finally {
        filters.close();
      }
    });
  }

  it("all of several must hold", async () => {
    const filters = await start({ abort: ABORT, headers: [{ name: "x-a" }, { name: "x-b" }] });
    try {
      assert.equal((await ask(filters, { "x-a": "1" })).status, 200);
      assert.equal((await ask(filters, { "x-a": "1", "x-b": "2" })).status, 503);
    } finally {
      filters.close();
    }
  });
});

describe("delay", () => {
  const table: readonly [string, Fields, Record<string, string>, Setting, number][] = [
    ["fixed_delay", { delay: { fixed_delay: { nanos: 80e6 }, percentage: ALL } }, {}, {}, 80],
    ["fixed_delay at 0 %", { delay: { fixed_delay: { seconds: 5 } } }, {}, {}, 0],
    ["header_delay", { delay: { header_delay: {}, percentage: ALL } }, { "x-envoy-fault-delay-request": "90" }, {}, 90],
    ["header_delay without the header", { delay: { header_delay: {}, percentage: ALL } }, {}, {}, 0],
    [
      "header_delay of 0 %",
      { delay: { header_delay: {}, percentage: ALL } },
      { "x-envoy-fault-delay-request": "5000", "x-envoy-fault-delay-request-percentage": "0" },
      {},
      0,
    ],
    [
      "runtime duration",
      { delay: { fixed_delay: { seconds: 5 }, percentage: ALL } },
      {},
      { runtime: { "fault.http.delay.fixed_duration_ms": 70 } },
      70,
    ],
    [
      "runtime percent",
      { delay: { fixed_delay: { seconds: 5 }, percentage: ALL } },
      {},
      { runtime: { "fault.http.delay.fixed_delay_percent": 0 } },
      0,
    ],
  ];
  for (const [what, fields, headers, setting, ms] of table) {
    it(what, async () => {
      const filters = await start(fields, setting);
      try {
        const answer = await ask(filters, headers);
        assert.equal(answer.status, 200);
        assert.equal(answer.body, "hello");
        // A timer never fires early (1 ms of rounding); how late it is says nothing about the filter.
        assert.ok(answer.ms >= ms - 1, `${answer.ms} ms`);
        assert.equal(counter(filters, "delays_injected"), ms > 0 ? 1 : 0);
        assert.equal(filters.engine.finished[0]!.hasFlag(ResponseFlag.DI), ms > 0);
        assert.equal(active(filters), 0);
      } finally {
        filters.close();
      }
    });
  }

  it("an abort follows the delay; both are told", async () => {
    const filters = await start({ delay: { fixed_delay: { nanos: 60e6 }, percentage: ALL }, abort: ABORT });
    try {
      const answer = await ask(filters);
      assert.equal(answer.status, 503);
      assert.ok(answer.ms >= 59);
      const info = filters.engine.finished[0]!;
      assert.ok(info.hasFlag(ResponseFlag.DI) && info.hasFlag(ResponseFlag.FI));
    } finally {
      filters.close();
    }
  });

  it("a body that comes during the delay goes on after it", async () => {
    const filters = await start({ delay: { fixed_delay: { nanos: 50e6 }, percentage: ALL } });
    try {
      const status = await new Promise<number>((resolve, reject) => {
        const outgoing = request(
          { port: filters.engine.port, host: "127.0.0.1", method: "POST", agent: false },
          (response) => {
            response.resume();
            resolve(response.statusCode!);
          },
        );
        outgoing.on("error", reject);
        outgoing.write("a");
        setTimeout(() => outgoing.end("b".repeat(100_000)), 10);
      });
      assert.equal(status, 200);
      assert.equal(filters.engine.finished[0]!.bytesReceived, 100_001);
    } finally {
      filters.close();
    }
  });

  it("a peer that leaves during the delay leaves no active fault, and no fault is counted past the bound", async () => {
    const filters = await start({
      delay: { fixed_delay: { seconds: 30 }, percentage: ALL },
      max_active_faults: { value: 1 },
    });
    try {
      const waiting = request({ port: filters.engine.port, host: "127.0.0.1", agent: false });
      waiting.on("error", () => {});
      waiting.end();
      while (active(filters) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal((await ask(filters)).status, 200);
      assert.equal(counter(filters, "faults_overflow"), 1);
      waiting.destroy();
      while (active(filters) > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(counter(filters, "delays_injected"), 1);
    } finally {
      filters.close();
    }
  });
});

describe("response_rate_limit", () => {
  it("fixed_limit paces the body", async () => {
    const filters = await start({ response_rate_limit: { fixed_limit: { limit_kbps: 64 }, percentage: ALL } });
    try {
      const answer = await ask(filters, {}, "/big");
      assert.equal(answer.body.length, BIG_BODY);
      // 32 KiB at 64 KiB/s, the first slice of 50 ms at once: no sooner than 450 ms.
      assert.ok(answer.ms >= 400, `${answer.ms} ms`);
      assert.equal(counter(filters, "response_rl_injected"), 1);
      assert.equal(active(filters), 0);
    } finally {
      filters.close();
    }
  });

  it("header_limit, its percentage, and neither", async () => {
    const filters = await start({ response_rate_limit: { header_limit: {}, percentage: ALL } });
    try {
      const paced = await ask(filters, { "x-envoy-fault-throughput-response": "128" }, "/big");
      assert.ok(paced.ms >= 150, `${paced.ms} ms`);
      await ask(
        filters,
        { "x-envoy-fault-throughput-response": "1", "x-envoy-fault-throughput-response-percentage": "0" },
        "/big",
      );
      await ask(filters, {}, "/big");
      assert.equal(counter(filters, "response_rl_injected"), 1);
    } finally {
      filters.close();
    }
  });

  it("runtime percent", async () => {
    const filters = await start(
      { response_rate_limit: { fixed_limit: { limit_kbps: 1 }, percentage: ALL } },
      { runtime: { "fault.http.rate_limit.response_percent": 0 } },
    );
    try {
      assert.equal((await ask(filters, {}, "/big")).body.length, BIG_BODY);
      assert.equal(counter(filters, "response_rl_injected"), 0);
    } finally {
      filters.close();
    }
  });
});

describe("per route", () => {
  it("the route's configuration replaces the filter's", async () => {
    const filters = await start({ abort: ABORT }, { perRoute: { abort: { http_status: 401, percentage: ALL } } });
    try {
      assert.equal((await ask(filters)).status, 503);
      assert.equal((await ask(filters, {}, "/special")).status, 401);
    } finally {
      filters.close();
    }
  });

  it("an empty one switches faults off", async () => {
    const filters = await start({ abort: ABORT }, { perRoute: {} });
    try {
      assert.equal((await ask(filters, {}, "/special")).status, 200);
    } finally {
      filters.close();
    }
  });
});
