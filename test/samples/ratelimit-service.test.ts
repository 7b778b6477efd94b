import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { credentials, makeGenericClientConstructor, status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import protobuf from "protobufjs";
import { Limiter } from "../../samples/ratelimit-service/limiter.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PACKAGE = "envoy.service.ratelimit.v3";

/** Envoy's own definition, not the sample's: field numbers are checked against it. */
async function envoyMessages(): Promise<{ request: protobuf.Type; response: protobuf.Type }> {
  const deps = `${ROOT}node_modules/@grpc/grpc-js-xds/deps`;
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => {
    if (target.startsWith("google/protobuf/") && target !== "google/protobuf/empty.proto")
      return `${ROOT}node_modules/protobufjs/${target}`;
    for (const folder of ["envoy-api", "xds", "protoc-gen-validate", "googleapis"]) {
      const path = `${deps}/${folder}/${target}`;
      if (exists(path)) return path;
    }
    return `${ROOT}node_modules/protobufjs/${target}`;
  };
  await root.load("envoy/service/ratelimit/v3/rls.proto");
  return {
    request: root.lookupType(`${PACKAGE}.RateLimitRequest`),
    response: root.lookupType(`${PACKAGE}.RateLimitResponse`),
  };
}

function exists(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch {
    return false;
  }
}

type Call = (request: object) => Promise<Record<string, unknown>>;

/** Starts the sample with the command of its README (on a free port) and returns a way to call it. */
async function startSample(): Promise<Call> {
  const readme = readFileSync(`${ROOT}samples/ratelimit-service/README.md`, "utf8");
  const command = /```sh\n(.*)\n```/.exec(readme)![1]!;
  assert.equal(command, "npx node samples/ratelimit-service/service.ts 10002 samples/ratelimit-service/limits.yaml");
  const [, , ...args] = command.replace("10002", "0").split(" ");
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await once(lines, "line")) as [string];
  const port = /^rate limit service on 127.0.0.1:(\d+), domain quickstart$/.exec(line)![1]!;
  const { request, response } = await envoyMessages();
  const Client = makeGenericClientConstructor({}, "RateLimitService");
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  after(() => {
    client.close();
    child.kill();
  });
  return (message) =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/${PACKAGE}.RateLimitService/ShouldRateLimit`,
        (value: object) => Buffer.from(request.encode(request.fromObject(value)).finish()),
        (bytes: Buffer) => response.toObject(response.decode(bytes), { enums: String, longs: Number, defaults: true }),
        message,
        (error: ServiceError | null, answer?: Record<string, unknown>) =>
          error === null ? resolve(answer!) : reject(error),
      );
    });
}

describe("samples/ratelimit-service", () => {
  test("speaks Envoy's protocol and counts", async () => {
    const call = await startSample();
    const descriptors = [
      { entries: [{ key: "generic_key", value: "limited" }] },
      { entries: [{ key: "other", value: "x" }] },
    ];
    for (let used = 1; used <= 7; used++) {
      const answer = await call({ domain: "quickstart", descriptors });
      assert.equal(answer["overallCode"], used <= 5 ? "OK" : "OVER_LIMIT");
      const [limited, other] = answer["statuses"] as Record<string, unknown>[];
      assert.equal(limited!["code"], used <= 5 ? "OK" : "OVER_LIMIT");
      assert.equal(limited!["limitRemaining"], Math.max(0, 5 - used));
      const limit = limited!["currentLimit"] as Record<string, unknown>;
      assert.deepEqual([limit["requestsPerUnit"], limit["unit"], limit["name"]], [5, "MINUTE", "limited"]);
      const { seconds } = limited!["durationUntilReset"] as { seconds: number };
      assert.ok(seconds > 0 && seconds <= 60);
      assert.equal(other!["code"], "OK");
      assert.equal(other!["currentLimit"], null);
    }
    const elsewhere = await call({ domain: "elsewhere", descriptors });
    assert.equal(elsewhere["overallCode"], "OK");
    await assert.rejects(call({ domain: "quickstart" }), { code: status.INVALID_ARGUMENT });
    await assert.rejects(call({ descriptors }), { code: status.INVALID_ARGUMENT });
  });
});

describe("its limiter", () => {
  const limits = {
    domain: "d",
    descriptors: [
      { key: "path", value: "/a", rate_limit: { unit: "second", requests_per_unit: 1 } },
      {
        key: "path",
        rate_limit: { unit: "hour", requests_per_unit: 2 },
        descriptors: [{ key: "user", rate_limit: { unit: "day", requests_per_unit: 3 } }],
      },
    ],
  };
  const decide = (limiter: Limiter, value: string, hits = 1) => limiter.decide("d", [{ key: "path", value }], hits);

  test("a window ends one unit after its first hit", () => {
    let now = 1000;
    const limiter = new Limiter(limits, () => now);
    assert.equal(decide(limiter, "/a").overLimit, false);
    now = 1999;
    assert.deepEqual([decide(limiter, "/a").overLimit, decide(limiter, "/a").secondsUntilReset], [true, 1]);
    now = 2000;
    assert.equal(decide(limiter, "/a").overLimit, false);
  });

  test("a node without a value counts each value by itself", () => {
    const limiter = new Limiter(limits, () => 0);
    assert.equal(decide(limiter, "/b", 2).overLimit, false);
    assert.equal(decide(limiter, "/b").overLimit, true);
    assert.equal(decide(limiter, "/c").overLimit, false);
  });

  test("entries walk down the tree, and an entry without a node has no limit", () => {
    const limiter = new Limiter(limits, () => 0);
    const down = [
      { key: "path", value: "/z" },
      { key: "user", value: "u" },
    ];
    assert.equal(limiter.decide("d", down, 1).limit?.unit, "DAY");
    assert.equal(limiter.decide("d", [...down, { key: "x", value: "y" }], 1).limit, undefined);
    assert.equal(limiter.decide("d", [{ key: "nothing", value: "" }], 1).limit, undefined);
  });

  test("an unknown unit is refused", () => {
    const wrong = { domain: "d", descriptors: [{ key: "k", rate_limit: { unit: "fortnight", requests_per_unit: 1 } }] };
    assert.throws(() => new Limiter(wrong), /unknown unit fortnight/);
  });
});
