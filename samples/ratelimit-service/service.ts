/**
 * A rate limit service over gRPC (`envoy.service.ratelimit.v3.RateLimitService`), in memory, for samples and tests.
 *
 *     npx node samples/ratelimit-service/service.ts [PORT] [LIMITS.yaml]
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";
import protobuf from "protobufjs";
import { parse } from "yaml";
import { Limiter } from "./limiter.ts";
import type { Entry, LimitsFile } from "./limiter.ts";

const PACKAGE = "envoy.service.ratelimit.v3";

interface Request {
  readonly domain: string;
  readonly descriptors: readonly { readonly entries: readonly Entry[] }[];
  readonly hitsAddend: number;
}

/** Starts the service; port 0 takes a free one. Rejects when the port cannot be bound. */
export async function startRateLimitService(
  limits: LimitsFile,
  port: number,
): Promise<{ port: number; close(): void }> {
  const { root } = protobuf.parse(readFileSync(new URL("rls.proto", import.meta.url), "utf8"));
  const requestType = root.lookupType(`${PACKAGE}.RateLimitRequest`);
  const responseType = root.lookupType(`${PACKAGE}.RateLimitResponse`);
  const limiter = new Limiter(limits);
  const server = new Server();
  server.addService(
    {
      shouldRateLimit: {
        path: `/${PACKAGE}.RateLimitService/ShouldRateLimit`,
        requestStream: false,
        responseStream: false,
        requestDeserialize: (bytes: Buffer) => requestType.toObject(requestType.decode(bytes), { defaults: true }),
        requestSerialize: (request: Request) =>
          Buffer.from(requestType.encode(requestType.fromObject(request)).finish()),
        responseDeserialize: (bytes: Buffer) => responseType.toObject(responseType.decode(bytes)),
        responseSerialize: (response: object) =>
          Buffer.from(responseType.encode(responseType.fromObject(response)).finish()),
      },
    },
    {
      shouldRateLimit(call: ServerUnaryCall<Request, object>, answer: sendUnaryData<object>): void {
        const { domain, descriptors } = call.request;
        if (domain === "" || descriptors.length === 0) {
          answer({ code: status.INVALID_ARGUMENT, details: "a domain and at least one descriptor are required" });
          return;
        }
        answer(null, respond(limiter, call.request));
      },
    },
  );
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, got) => {
      if (error === null) resolve(got);
      else reject(error);
    });
  });
  return { port: bound, close: () => server.forceShutdown() };
}

function respond(limiter: Limiter, request: Request): object {
  const hits = Math.max(1, request.hitsAddend);
  const decisions = request.descriptors.map((descriptor) => limiter.decide(request.domain, descriptor.entries, hits));
  return {
    overallCode: decisions.some((decision) => decision.overLimit) ? "OVER_LIMIT" : "OK",
    statuses: decisions.map(({ overLimit, limit, remaining, secondsUntilReset }) => ({
      code: overLimit ? "OVER_LIMIT" : "OK",
      ...(limit === undefined
        ? {}
        : { currentLimit: limit, limitRemaining: remaining, durationUntilReset: { seconds: secondsUntilReset } }),
    })),
  };
}

/** Reads a limits file. Throws when it cannot be read. */
export function readLimits(path: string): LimitsFile {
  return parse(readFileSync(path, "utf8")) as LimitsFile;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.argv[2] ?? 10_002);
  const limits = readLimits(process.argv[3] ?? fileURLToPath(new URL("limits.yaml", import.meta.url)));
  const service = await startRateLimitService(limits, port);
  console.log(`rate limit service on 127.0.0.1:${service.port}, domain ${limits.domain}`);
}
