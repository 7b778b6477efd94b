/** Asks the admin interface of a running proxy. */
import { statSync } from "node:fs";
import { ProxyError } from "../errors.ts";
import { ADMIN_ANSWER_BYTES, ADMIN_CLIENT_TIMEOUT_MS } from "../limits.ts";

export interface AdminOptions {
  /** `host:port`, `[v6]:port`, or the path of a unix socket. */
  readonly admin: string;
  readonly token?: string;
}

export interface AdminResponse {
  readonly status: number;
  readonly body: string;
}

// As in control/admin.ts: an ES import of node:http costs 30 ms of start-up.
const { request } = process.getBuiltinModule("node:http");

/** The JSON of an answer. Throws ProxyError ADMIN_UNSUPPORTED when it is none, or lacks the member that must be there. */
export function answerJson<T>({ body }: AdminResponse, { admin }: AdminOptions, member: keyof T & string): T {
  try {
    const parsed = JSON.parse(body) as T | null;
    if (typeof parsed === "object" && parsed !== null && Object.hasOwn(parsed, member)) return parsed;
  } catch {
    // Told below.
  }
  throw new ProxyError("ADMIN_UNSUPPORTED", "config", `what answers at ${admin} is no admin interface of Sluice`);
}

/** Rejects with ProxyError ADMIN_UNREACHABLE, or ADMIN_UNSUPPORTED when it has no such path. */
export function askAdmin(
  { admin, token }: AdminOptions,
  method: "GET" | "POST",
  path: string,
  body: Uint8Array = new Uint8Array(0),
): Promise<AdminResponse> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      reject(
        new ProxyError(
          "ADMIN_UNREACHABLE",
          "config",
          `no answer from the admin interface at ${admin} (--admin names another): ${why}`,
        ),
      );
    const outgoing = request(
      {
        ...target(admin),
        method,
        path,
        agent: false,
        timeout: ADMIN_CLIENT_TIMEOUT_MS,
        headers: {
          "content-length": body.length,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > ADMIN_ANSWER_BYTES) response.destroy(new Error("the answer is too long"));
          else chunks.push(chunk);
        });
        response.on("error", (error) => fail(error.message));
        response.on("end", () => {
          const answer = { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") };
          // What Envoy and older versions say to a path that they do not have; the list of theirs is of no use here.
          if (answer.status === 404 && answer.body.startsWith("invalid path"))
            reject(
              new ProxyError(
                "ADMIN_UNSUPPORTED",
                "config",
                `the admin interface at ${admin} has no ${path.split("?", 1)[0]}: it is that of an older version, or not of Sluice`,
              ),
            );
          else resolve(answer);
        });
      },
    );
    outgoing.on("timeout", () => outgoing.destroy(new Error(`none within ${ADMIN_CLIENT_TIMEOUT_MS / 1000} s`)));
    outgoing.on("error", (error) => fail(error.message === "" ? "nothing listens there" : error.message));
    outgoing.end(body);
  });
}

function target(admin: string): { socketPath: string } | { host: string; port: number } {
  if (statSync(admin, { throwIfNoEntry: false })?.isSocket() === true) return { socketPath: admin };
  const [, v6, host, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(admin) ?? [];
  if (port === undefined)
    throw new ProxyError("ADMIN_ADDRESS", "config", `"${admin}" is neither HOST:PORT nor a unix socket`);
  return { host: v6 ?? host ?? "", port: Number(port) };
}
