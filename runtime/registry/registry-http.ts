/** HTTP towards one registry: authentication, redirects, errors in the registry's own words. */
import type { Readable } from "node:stream";
import { request } from "undici";
import type { Agent, Dispatcher } from "undici";
import {
  ARTIFACT_ANSWER_MS,
  ARTIFACT_TRANSFER_MS,
  MAX_REDIRECTS,
  MAX_REGISTRY_ANSWER_BYTES,
  MAX_SHOWN_ANSWER,
} from "../limits.ts";
import { shownText } from "../observe/wire-text.ts";
import { ProxyError } from "../errors.ts";
import { checkHost, fetchAgent, ForbiddenAddress } from "./fetch-guard.ts";
import { findCredentials } from "./credentials.ts";
import type { Credentials } from "./credential-helper.ts";

export interface RegistryOptions {
  /** Talk HTTP without TLS. Default: only to this machine. */
  readonly plainHttp?: boolean | undefined;
  /** Further certificate authorities, PEM. */
  readonly ca?: string | undefined;
  /** Instead of what the environment knows; null: none. */
  readonly credentials?: Credentials | null | undefined;
  /** Gives everything up. */
  readonly signal?: AbortSignal | undefined;
}

export interface RegistryRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** A path below the registry, or the absolute URL that it gave. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** `repository:NAME:pull` or `…:pull,push`. */
  readonly scope: string;
  /** Statuses that are no error. */
  readonly accept: readonly number[];
  /** What this is for, in errors. */
  readonly what: string;
  /** A blob or a piece of one, which may take longer than other answers. */
  readonly transfer?: true;
}

export interface RegistryAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable & { bytes(): Promise<Uint8Array>; dump(): Promise<void> };
  /** The URL that answered, after redirects. */
  readonly url: URL;
}

export class RegistryHttp {
  readonly base: URL;
  /** As people write it: what its credentials are kept under. */
  readonly #registry: string;
  readonly #agent: Agent;
  readonly #options: RegistryOptions;
  /** Authorization by scope. */
  readonly #authorizations = new Map<string, { readonly value: string; readonly untilMs: number }>();
  #credentials: Promise<Credentials | undefined> | undefined;

  constructor(registry: string, options: RegistryOptions = {}) {
    const host = registry === "docker.io" ? "registry-1.docker.io" : registry;
    const plain = options.plainHttp ?? isLocal(host);
    this.base = new URL(`${plain ? "http" : "https"}://${host}`);
    this.#registry = registry;
    this.#agent = fetchAgent(options.ca);
    this.#options = options;
  }

  /** Closes idle connections. */
  close(): Promise<void> {
    return this.#agent.close();
  }

  /** Rejects with ProxyError ARTIFACT_REGISTRY that has the registry's own code, or ARTIFACT_UNREACHABLE. */
  async send(ask: RegistryRequest): Promise<RegistryAnswer> {
    let answer = await this.#follow(ask);
    // Only the registry itself is told who we are: not a store that it redirects to, nor a realm that such a store names.
    if (answer.status === 401 && answer.url.origin === this.base.origin) {
      const challenge = headerOf(answer, "www-authenticate");
      const told = await errorText(answer);
      await this.#authorize(challenge, ask, told);
      answer = await this.#follow(ask);
    }
    if (ask.accept.includes(answer.status)) return answer;
    throw new ProxyError(
      "ARTIFACT_REGISTRY",
      "config",
      `${ask.what}: ${answer.url.host} answered ${answer.status}${await errorText(answer)}${hint(answer.status, ask)}`,
    );
  }

  async #follow(ask: RegistryRequest): Promise<RegistryAnswer> {
    let from = this.base;
    let url = new URL(ask.url, this.base);
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      if (url.protocol !== "https:" && !(url.protocol === "http:" && from.protocol === "http:"))
        throw unreachable(ask.what, `${from.host} redirects to ${url.protocol}//, which is refused`);
      const answer = await this.#once(ask, url);
      if (![301, 302, 303, 307, 308].includes(answer.statusCode) || (ask.method !== "GET" && ask.method !== "HEAD"))
        return { status: answer.statusCode, headers: answer.headers, body: answer.body, url };
      await discard(answer);
      const location = answer.headers["location"];
      const next = typeof location === "string" ? URL.parse(location, url) : null;
      if (next === null) throw unreachable(ask.what, `${url.host} redirects nowhere`);
      from = url;
      url = next;
    }
    throw unreachable(ask.what, `${this.base.host} redirects more than ${MAX_REDIRECTS} times`);
  }

  async #once(ask: RegistryRequest, url: URL): Promise<Dispatcher.ResponseData> {
    const headers: Record<string, string> = { "user-agent": "sluice", ...ask.headers };
    // What proves who we are is for this registry alone, not for where it redirects to.
    const known = this.#authorizations.get(ask.scope);
    if (known !== undefined && url.origin === this.base.origin && known.untilMs > Date.now())
      headers["authorization"] = known.value;
    try {
      return await this.#request(url, { method: ask.method, headers, body: ask.body ?? null }, ask.transfer === true);
    } catch (cause) {
      throw unreachable(ask.what, connectReason(cause, url), cause);
    }
  }

  /** Rejects with what undici says; the body, too, has to come within the time. */
  async #request(
    url: URL,
    options: Pick<Dispatcher.RequestOptions, "method" | "headers" | "body">,
    transfer: boolean,
  ): Promise<Dispatcher.ResponseData> {
    checkHost(url.hostname);
    const time = AbortSignal.timeout(transfer ? ARTIFACT_TRANSFER_MS : ARTIFACT_ANSWER_MS);
    const { signal = time } = this.#options;
    return request(url, {
      ...(options as { method: Dispatcher.HttpMethod }),
      signal: signal === time ? time : AbortSignal.any([signal, time]),
      dispatcher: this.#agent,
    });
  }

  async #authorize(challenge: string, ask: RegistryRequest, told: string): Promise<void> {
    this.#credentials ??=
      this.#options.credentials === undefined
        ? findCredentials(this.#registry)
        : Promise.resolve(this.#options.credentials ?? undefined);
    const credentials = await this.#credentials;
    const refused = (why: string): ProxyError =>
      new ProxyError(
        "ARTIFACT_REGISTRY",
        "config",
        `${ask.what}: ${this.base.host} asks for authentication${told}: ${why}`,
      );
    if (/^basic\b/i.test(challenge)) {
      if (credentials === undefined) throw refused(`log in with: sluice login ${this.#registry}`);
      this.#authorizations.set(ask.scope, { value: basic(credentials), untilMs: Infinity });
      return;
    }
    const parameters = /^bearer\s+(.*)$/is.exec(challenge)?.[1];
    if (parameters === undefined) throw refused("in a way that is not known here");
    const { realm, service } = challengeParameters(parameters);
    const token = await this.#token(realm ?? "", service ?? "", ask, credentials, refused);
    this.#authorizations.set(ask.scope, token);
  }

  /** A bearer token: anonymous, by password, or by refresh token (distribution's token and oauth2 specifications). */
  async #token(
    realm: string,
    service: string,
    ask: RegistryRequest,
    credentials: Credentials | undefined,
    refused: (why: string) => ProxyError,
  ): Promise<{ readonly value: string; readonly untilMs: number }> {
    const url = URL.canParse(realm) ? new URL(realm) : undefined;
    // A registry without TLS may name any realm; one with TLS must not send a password over the open network.
    if (
      url === undefined ||
      (url.protocol !== "https:" && !(url.protocol === "http:" && this.base.protocol === "http:"))
    )
      throw refused(`its realm "${shownText(realm, MAX_SHOWN_ANSWER)}" is no https URL`);
    const identity = credentials?.identityToken;
    const headers: Record<string, string> = { "user-agent": "sluice" };
    let body: string | null = null;
    if (identity === undefined) {
      if (service !== "") url.searchParams.set("service", service);
      url.searchParams.set("scope", ask.scope);
      if (credentials !== undefined) headers["authorization"] = basic(credentials);
    } else {
      headers["content-type"] = "application/x-www-form-urlencoded";
      body = new URLSearchParams({
        grant_type: "refresh_token",
        service,
        scope: ask.scope,
        client_id: "sluice",
        refresh_token: identity,
      }).toString();
    }
    let answer: Dispatcher.ResponseData;
    try {
      answer = await this.#request(url, { method: body === null ? "GET" : "POST", headers, body }, false);
    } catch (cause) {
      throw refused(connectReason(cause, url));
    }
    const bytes = await shortBody(answer);
    if (answer.statusCode === 401 || answer.statusCode === 403)
      throw refused(
        credentials === undefined ? `log in with: sluice login ${this.#registry}` : "user name or password are wrong",
      );
    if (answer.statusCode !== 200) throw refused(`${url.host} answered ${answer.statusCode}`);
    const parsed = json(bytes) as { token?: unknown; access_token?: unknown; expires_in?: unknown };
    const token = typeof parsed.token === "string" ? parsed.token : parsed.access_token;
    if (typeof token !== "string") throw refused(`${url.host} sent no token`);
    const seconds = typeof parsed.expires_in === "number" ? parsed.expires_in : 60;
    return { value: `Bearer ${token}`, untilMs: Date.now() + Math.max(seconds - 5, 5) * 1000 };
  }
}

type Body = Pick<RegistryAnswer, "body">;

/** A whole body. Rejects with ProxyError ARTIFACT_TOO_LARGE, or ARTIFACT_UNREACHABLE when it breaks off. */
export async function readBody({ body }: Body, limit: number, what: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of body as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > limit)
        throw new ProxyError("ARTIFACT_TOO_LARGE", "config", `${what}: the answer has more than ${limit} bytes`);
      pieces.push(piece);
    }
  } catch (cause) {
    if (cause instanceof ProxyError) throw cause;
    throw unreachable(what, `the answer broke off after ${size} bytes: ${reason(cause)}`, cause);
  }
  return Buffer.concat(pieces);
}

/** The body of an error or a token; empty when it is too long or breaks off: what is missing then is told by its user. */
async function shortBody(answer: Body): Promise<Buffer> {
  return readBody(answer, MAX_REGISTRY_ANSWER_BYTES, "").catch((error: unknown) => {
    if (error instanceof ProxyError) return Buffer.alloc(0);
    throw error;
  });
}

/** Reads a body that nobody wants, so that its connection can be used again; one that breaks off is no loss. */
export async function discard({ body }: Body): Promise<void> {
  await body.dump().catch(() => {});
}

export function headerOf(answer: RegistryAnswer, name: string): string {
  const value = answer.headers[name];
  return typeof value === "string" ? value : (value?.[0] ?? "");
}

/** ` (CODE: message)` of the specification's error body, or nothing. */
async function errorText(answer: RegistryAnswer): Promise<string> {
  const parsed = json(await shortBody(answer)) as { errors?: unknown };
  const [first] = Array.isArray(parsed.errors) ? (parsed.errors as { code?: unknown; message?: unknown }[]) : [];
  if (typeof first?.code !== "string") return "";
  return ` (${shownText(first.code, MAX_SHOWN_ANSWER)}${typeof first.message === "string" && first.message !== "" ? `: ${shownText(first.message, MAX_SHOWN_ANSWER)}` : ""})`;
}

function hint(status: number, ask: RegistryRequest): string {
  if (status === 403) return ": these credentials may not do that";
  if (status === 404 && ask.method === "GET") return ": there is no such repository, tag or digest";
  return "";
}

function json(bytes: Uint8Array): object {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    return typeof parsed === "object" && parsed !== null ? parsed : {};
  } catch {
    // An error page of something in between: the status says enough.
    return {};
  }
}

/** `realm="…",service="…"`. */
function challengeParameters(text: string): Record<string, string | undefined> {
  const found: Record<string, string> = {};
  for (const [, name, quoted, plain] of text.matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g))
    found[name!.toLowerCase()] = quoted ?? plain ?? "";
  return found;
}

function basic({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** This machine: where a registry for trying things out speaks plain HTTP. */
function isLocal(registry: string): boolean {
  const host = registry.replace(/:\d+$/, "");
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function connectReason(cause: unknown, url: URL): string {
  if (cause instanceof ForbiddenAddress) return cause.message;
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "ECONNREFUSED") return `nothing listens on ${url.host}`;
  if (code === "ENOTFOUND") return `there is no host ${url.hostname}`;
  return `${url.host}: ${reason(cause)}`;
}

function reason(cause: unknown): string {
  const { name, code, message } = cause as NodeJS.ErrnoException;
  if (name === "TimeoutError") return "its time is over";
  if (name === "AbortError") return "given up";
  return message || code || String(cause);
}

function unreachable(what: string, why: string, cause?: unknown): ProxyError {
  return new ProxyError("ARTIFACT_UNREACHABLE", "config", `${what}: ${why}`, cause);
}
