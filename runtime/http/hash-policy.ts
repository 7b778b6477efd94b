/** RouteAction.hash_policy: the number by which clusters with the policies RING_HASH and MAGLEV tell streams apart. */
import type { HeaderMap } from "../codec/headers.ts";
import type { GeneratedCookie, HttpHashPolicy } from "../config/hash-policy-snapshot.ts";
import { queryParameter } from "../observe/query.ts";
import { compileRegexRewrite } from "../observe/regex-rewrite.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { wireText } from "../observe/wire-text.ts";
import { combine, type Hash64, hashText, xxHash64Text } from "../upstream/hash64.ts";
import { hashOfConnection } from "../upstream/pick.ts";

/** A stream whose hash is wanted. */
export interface HashedStream {
  readonly headers: HeaderMap;
  readonly info: StreamInfo;
  /** `set-cookie` fields for the response. */
  readonly cookies: string[];
}

type Part = (stream: HashedStream, into: Hash64) => boolean;

const NO_SEED: Readonly<Hash64> = { hi: 0, lo: 0 };
/** The hash of the part under way. */
const PART: Hash64 = { hi: 0, lo: 0 };

export class HashPolicy {
  readonly #parts: readonly { readonly hash: Part; readonly terminal: boolean }[];

  constructor(policies: readonly HttpHashPolicy[]) {
    this.#parts = policies.map((policy) => ({ hash: compilePart(policy), terminal: policy.terminal }));
  }

  /** False when no policy has anything to go by. */
  hash(stream: HashedStream, into: Hash64): boolean {
    let found = false;
    into.hi = into.lo = 0;
    for (const { hash, terminal } of this.#parts) {
      if (hash(stream, PART)) {
        combine(into, PART);
        found = true;
      }
      if (terminal && found) break;
    }
    return found;
  }
}

function compilePart(policy: HttpHashPolicy): Part {
  switch (policy.kind) {
    case "header":
      return headerPart(policy.name, policy.rewrite === undefined ? null : compileRegexRewrite(policy.rewrite));
    case "cookie":
      return cookiePart(wireText(policy.name), policy.generate);
    case "query_parameter": {
      const name = wireText(policy.name);
      return ({ headers }, into) => {
        const value = queryParameter(headers.get(":path") ?? "", name);
        if (value === undefined) return false;
        xxHash64Text(value, NO_SEED, into);
        return true;
      };
    }
    case "source_ip":
    case "filter_state":
      return ({ info }, into) => hashOfConnection(policy, info, info.remoteIp, into);
  }
}

/** Several values count whatever their order: the hash of each is the seed of the next. */
function headerPart(name: string, rewrite: ((value: string) => string) | null): Part {
  return ({ headers }, into) => {
    const values = headers.all(name);
    if (values.length === 0) return false;
    into.hi = into.lo = 0;
    const rewritten = rewrite === null ? values : values.map(rewrite);
    const ordered = rewritten.length === 1 ? rewritten : rewritten.toSorted();
    for (const value of ordered) xxHash64Text(value, into, into);
    return true;
  };
}

function cookiePart(name: string, generate: GeneratedCookie | undefined): Part {
  return (stream, into) => {
    let value = cookieOf(stream.headers, name);
    if (value === "" && generate !== undefined) {
      value = newCookieValue(stream.info);
      stream.cookies.push(cookieText(name, value, generate));
    }
    if (value === "") return false;
    xxHash64Text(value, NO_SEED, into);
    return true;
  };
}

/** The first cookie of that name without its quotes; "" when there is none. */
function cookieOf(headers: HeaderMap, name: string): string {
  for (const field of headers.all("cookie")) {
    for (const pair of field.split(";")) {
      const equals = pair.indexOf("=");
      if (equals === -1 || pair.slice(0, equals).trim() !== name) continue;
      const value = pair.slice(equals + 1).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
  }
  return "";
}

/** The same for all streams of a connection, so that those that race for a cookie get the same one. */
function newCookieValue({ connection }: StreamInfo): string {
  const hash: Hash64 = { hi: 0, lo: 0 };
  xxHash64Text(wireText(connection.remoteAddress + connection.localAddress), NO_SEED, hash);
  return hashText(hash);
}

function cookieText(name: string, value: string, { ttlSeconds, path, attributes }: GeneratedCookie): string {
  let text = `${name}="${value}"`;
  if (ttlSeconds !== 0) text += `; Max-Age=${ttlSeconds}`;
  if (path !== "") text += `; Path=${wireText(path)}`;
  for (const attribute of attributes) {
    text += attribute.value === "" ? `; ${attribute.name}` : `; ${attribute.name}=${wireText(attribute.value)}`;
  }
  return `${text}; HttpOnly`;
}
