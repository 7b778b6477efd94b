/** A rate limit service over real gRPC whose answers a test writes, on Envoy's published messages. */
import { fileURLToPath } from "node:url";
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall, type status } from "@grpc/grpc-js";
import { loadProtos, protoFolders } from "../../filters/build/proto.ts";

const { root } = loadProtos(
  ["envoy/service/ratelimit/v3/rls.proto"],
  protoFolders(fileURLToPath(new URL("../../", import.meta.url))),
);
const requestType = root.lookupType("envoy.service.ratelimit.v3.RateLimitRequest");
const responseType = root.lookupType("envoy.service.ratelimit.v3.RateLimitResponse");

export interface Asked {
  readonly domain: string;
  /** `key=value` of each entry, per descriptor. */
  readonly descriptors: readonly (readonly string[])[];
  /** hits_addend of each descriptor that has one. */
  readonly hits: readonly number[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly deadline: Date | number;
}

/** Fields of RateLimitResponse, a gRPC status, or "late": no answer until the test is over. */
export type Reply = Record<string, unknown> | { readonly code: status } | "late";

export class RateLimitPeer {
  readonly asked: Asked[] = [];
  readonly port: number;
  /** Calls that the other side gave up. */
  cancelled = 0;
  /** What to answer; the default is OK. */
  reply: (asked: Asked) => Reply = () => ({ overall_code: "OK" });
  readonly #server: Server;
  #wake: (() => void)[] = [];

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** Starts a service; port 0 takes a free one. Rejects when the port cannot be bound. */
  static async start(port = 0): Promise<RateLimitPeer> {
    const server = new Server();
    const bound = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, got) => {
        if (error === null) resolve(got);
        else reject(error);
      });
    });
    const peer = new RateLimitPeer(server, bound);
    server.addService(
      {
        shouldRateLimit: {
          path: "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
          requestStream: false,
          responseStream: false,
          requestDeserialize: (bytes: Buffer) => requestType.toObject(requestType.decode(bytes), { defaults: true }),
          requestSerialize: (request: object) => Buffer.from(requestType.encode(request).finish()),
          responseDeserialize: (bytes: Buffer) => responseType.toObject(responseType.decode(bytes)),
          responseSerialize: (fields: Record<string, unknown>) =>
            Buffer.from(responseType.encode(responseType.fromObject(fields)).finish()),
        },
      },
      {
        shouldRateLimit: (call: ServerUnaryCall<object, object>, done: sendUnaryData<object>) =>
          peer.#serve(call, done),
      },
    );
    return peer;
  }

  #serve(call: ServerUnaryCall<object, object>, done: sendUnaryData<object>): void {
    const { domain, descriptors } = call.request as {
      domain: string;
      descriptors: { entries: { key: string; value: string }[]; hits_addend: { value: unknown } | null }[];
    };
    const asked: Asked = {
      domain,
      descriptors: descriptors.map(({ entries }) => entries.map(({ key, value }) => `${key}=${value}`)),
      hits: descriptors.flatMap((one) => (one.hits_addend === null ? [] : [Number(one.hits_addend.value)])),
      metadata: call.metadata.getMap(),
      deadline: call.getDeadline(),
    };
    this.asked.push(asked);
    call.on("cancelled", () => {
      this.cancelled += 1;
      this.#changed();
    });
    this.#changed();
    const reply = this.reply(asked);
    if (reply === "late") return;
    if ("code" in reply) done({ code: reply["code"] as status });
    else done(null, reply);
  }

  /** Resolves when `test` holds; it is tried after each call and each cancellation. */
  async until(test: () => boolean): Promise<void> {
    while (!test()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Ends at once, with every connection. */
  stop(): void {
    this.#server.forceShutdown();
  }
}
