/**
 * The admin interface's HTTP side: who may ask, in which form, and how answers are dressed. What can be
 * asked is endpoints.ts. It is control plane, so `node:http` does the protocol.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { isIP } from "node:net";
import type { AddressInfo } from "node:net";
import type { AdminConfig } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { ADMIN_CONNECTIONS, ADMIN_HEAD_BYTES, ADMIN_MODULES, ADMIN_REQUEST_TIMEOUT_MS } from "../limits.ts";
import { addressText, ipPort, isLoopback } from "../observe/address-text.ts";
import { setMode } from "../listener/bind.ts";
import { descriptorOf, duplicate } from "../listener/native-sockets.ts";
import type { Log } from "../observe/log.ts";
import type { AdminAnswer } from "./admin-answer.ts";
import { bodyLimit, ENDPOINTS, helpText } from "./endpoints.ts";
import type { Endpoint } from "./endpoints.ts";
import type { AdminSubject } from "./subject.ts";

// An ES import of node:http runs the getters of everything it exports, fetch among them: 30 ms of start-up for nothing.
const { createServer } = process.getBuiltinModule("node:http");
const TEXT = "text/plain; charset=UTF-8";

export class AdminListener {
  readonly #subject: AdminSubject;
  readonly #log: Log;
  readonly #server: Server;
  #loopback = false;
  /** Loopback or a pipe. */
  #local = false;
  #address = "";
  /** Requests with modules that are read, or wait for their turn. */
  #modules = 0;

  constructor(subject: AdminSubject, log: Log) {
    this.#subject = subject;
    this.#log = log;
    const options = {
      maxHeaderSize: ADMIN_HEAD_BYTES,
      headersTimeout: ADMIN_REQUEST_TIMEOUT_MS,
      requestTimeout: ADMIN_REQUEST_TIMEOUT_MS,
    };
    this.#server = createServer(options, (request, response) => void this.#serve(request, response));
    this.#server.maxConnections = ADMIN_CONNECTIONS;
  }

  /**
   * Binds, or takes the listening socket `inherited`. Rejects with ProxyError ADMIN_BIND_FAILED. Returns the bound
   * address as `ip:port` or path.
   */
  async start({ address }: AdminConfig, inherited: number | null = null): Promise<string> {
    const server = this.#server;
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        if (inherited !== null) server.listen({ fd: inherited }, resolve);
        else if (address.kind === "pipe") server.listen(address.path, resolve);
        else server.listen({ host: address.host, port: address.port, exclusive: true }, resolve);
        server.once("listening", () => server.off("error", reject));
      });
      setMode(address);
    } catch (error) {
      const cause = error as NodeJS.ErrnoException;
      const why = cause.code === "EADDRINUSE" ? "the address is in use (another process listens there)" : cause.message;
      const text = `admin: cannot bind ${addressText(address)}: ${why}`;
      throw new ProxyError("ADMIN_BIND_FAILED", "config", text, cause);
    }
    // A connection that could not be accepted, for want of memory or descriptors: the next one may be.
    server.on("error", (error) => this.#log.error(`admin: cannot accept a connection: ${error.message}`));
    if (address.kind === "pipe") {
      this.#address = address.path;
      this.#local = true;
    } else {
      const bound = server.address() as AddressInfo;
      this.#loopback = isLoopback(bound.address);
      this.#local = this.#loopback;
      this.#address = ipPort(bound.address, bound.port);
    }
    return this.#address;
  }

  /** Another descriptor of its listening socket, for a process that takes over; null when it is bound to a path. */
  lend(): number | null {
    return this.#server.listening && typeof this.#server.address() !== "string"
      ? duplicate(descriptorOf(this.#server))
      : null;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: AdminAnswer;
    try {
      answer = this.#refusal(request) ?? (await this.#answer(request));
    } catch (error) {
      if (response.destroyed) {
        this.#log.debug(`admin ${request.url ?? ""}: who asked is gone`);
        return;
      }
      this.#log.error(
        `admin ${request.url ?? ""}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
      answer = { status: 500, body: "internal error, see the log\n" };
    }
    const body = Buffer.from(answer.body);
    response.writeHead(answer.status ?? 200, {
      "content-type": answer.contentType ?? TEXT,
      "cache-control": "no-cache, max-age=0",
      "x-content-type-options": "nosniff",
      // Pages of others can neither show this one in a frame, where people would press its buttons, nor take anything in.
      "x-frame-options": "DENY",
      "content-security-policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
      "cross-origin-resource-policy": "same-origin",
      server: "envoy",
      "content-length": body.length,
      ...(answer.allow === undefined ? {} : { allow: answer.allow }),
      ...(request.complete ? {} : { connection: "close" }),
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  /** Names that a browser was told by somebody else's DNS, and pages of other origins, get nothing. */
  #refusal(request: IncomingMessage): AdminAnswer | undefined {
    const { host, origin } = request.headers;
    if (this.#loopback && host !== undefined && !isLocalName(host)) {
      return { status: 403, body: `Host ${JSON.stringify(host)} is not a name of this machine's loopback.\n` };
    }
    if (request.method === "GET" || request.method === "HEAD") return undefined;
    // Only browsers say these two, and they let no page change them.
    const site = request.headers["sec-fetch-site"];
    const foreign =
      (origin !== undefined && origin !== `http://${host}`) ||
      (site !== undefined && site !== "same-origin" && site !== "none");
    if (foreign) return { status: 403, body: "Requests from pages of another origin change nothing here.\n" };
    // The page may be anybody's whose name leads here today.
    if ((origin !== undefined || site !== undefined) && !isLocalName(host ?? ""))
      return { status: 403, body: "A page changes something here only if it was opened by address, not by name.\n" };
    return undefined;
  }

  async #answer(request: IncomingMessage): Promise<AdminAnswer> {
    const target = request.url ?? "/";
    const mark = target.indexOf("?");
    const path = mark === -1 ? target : target.slice(0, mark);
    const endpoint: Endpoint | undefined = ENDPOINTS.find((one) => one.path === path);
    if (endpoint === undefined) return { status: 404, body: `invalid path. ${helpText()}` };
    const method = request.method ?? "GET";
    if (endpoint.mutates ? method !== "POST" : method !== "GET" && method !== "HEAD" && method !== "POST") {
      const needed = endpoint.mutates ? "POST" : "GET";
      const allow = endpoint.mutates ? "POST" : "GET, HEAD, POST";
      return { status: 405, body: `Method ${method} not allowed, ${needed} required.`, allow };
    }
    // Before the body: a stranger's is not even read.
    if (endpoint.trusted === true && !this.#trusts(request)) return this.#untrusted(request);
    const parameters = new URLSearchParams(mark === -1 ? "" : target.slice(mark + 1));
    if (endpoint.bodyBytes === undefined) return this.#run(endpoint, parameters, request);
    if (this.#modules >= ADMIN_MODULES)
      return { status: 503, body: `${ADMIN_MODULES} other modules wait for their turn; try again.\n` };
    this.#modules++;
    try {
      return await this.#run(endpoint, parameters, request);
    } finally {
      this.#modules--;
    }
  }

  async #run(endpoint: Endpoint, parameters: URLSearchParams, request: IncomingMessage): Promise<AdminAnswer> {
    const limit = bodyLimit(endpoint);
    const body = await readBody(request, limit);
    if (body === undefined) return { status: 413, body: `The request body is too large: more than ${limit} bytes.\n` };
    return endpoint.run(this.#subject, parameters, body);
  }

  #untrusted({ headers }: IncomingMessage): AdminAnswer {
    const why =
      this.#subject.snapshot.hotLoad.token === undefined
        ? "Plugins are changed over the loopback only: the configuration has no hot_load.token for others."
        : headers.authorization === undefined
          ? "Plugins are changed over the loopback, or with the token of the configuration (hot_load.token) as Authorization: Bearer."
          : "This is not the token of the configuration (hot_load.token).";
    return { status: 403, body: `${why}\n` };
  }

  /** Who reaches the loopback, or the pipe, is this machine's; others show the token. */
  #trusts({ headers }: IncomingMessage): boolean {
    if (this.#local) return true;
    const { token } = this.#subject.snapshot.hotLoad;
    if (token === undefined) return false;
    // Digests have one length, so that the comparison takes the same time whatever was sent.
    const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
    return timingSafeEqual(digest(headers.authorization ?? ""), digest(`Bearer ${token}`));
  }
}

/** Undefined when there is too much of it. */
async function readBody(request: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** An address says where the request went, whatever DNS claims; of names only localhost is known to be local. */
function isLocalName(host: string): boolean {
  const name = host.replace(/:\d*$/, "").toLowerCase();
  return isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0 || name === "localhost" || name.endsWith(".localhost");
}
