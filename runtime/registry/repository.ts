/** A registry as the OCI distribution specification 1.1 has it: manifests, blobs, tags, referrers. */
import {
  MAX_ARTIFACT_BYTES,
  MAX_BLOB_TRIES,
  MAX_INDEX_ENTRIES,
  MAX_LIST_PAGES,
  MAX_MANIFEST_JSON_BYTES,
  MAX_REFERRERS,
  MAX_TAGS,
  UPLOAD_PIECE_BYTES,
} from "../limits.ts";
import { ProxyError } from "../errors.ts";
import { checkDigest, digestOf } from "./digest.ts";
import { isIndex, manifestBytes, MediaType, parseManifest } from "./manifest.ts";
import type { Descriptor, Index, Manifest } from "./manifest.ts";
import { discard, headerOf, readBody, RegistryHttp } from "./registry-http.ts";
import type { RegistryAnswer, RegistryOptions, RegistryRequest } from "./registry-http.ts";

/** Bytes done so far of those there are. */
export type Progress = (done: number, total: number) => void;

export interface Stored {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly manifest: Manifest | Index;
}

const ACCEPTED = [MediaType.MANIFEST, MediaType.INDEX, MediaType.DOCKER_MANIFEST, MediaType.DOCKER_LIST].join(", ");

const TRANSFER = { transfer: true } as const;

/** What a request has beside the usual. */
type More = Pick<RegistryRequest, "headers" | "body" | "transfer">;

/** One repository of one registry. Everything rejects with ProxyError: ARTIFACT_REGISTRY, ARTIFACT_UNREACHABLE, ARTIFACT_DIGEST … */
export class Repository {
  readonly name: string;
  readonly #http: RegistryHttp;
  readonly #base: string;

  constructor(registry: string, name: string, options: RegistryOptions = {}) {
    // Docker Hub keeps its official images in a namespace that is not written.
    this.name = registry === "docker.io" && !name.includes("/") ? `library/${name}` : name;
    this.#http = new RegistryHttp(registry, options);
    this.#base = `/v2/${this.name}`;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  /** Shows that the credentials are good, or that none are needed. */
  async login(): Promise<void> {
    const answer = await this.#http.send({ method: "GET", url: "/v2/", scope: "", accept: [200], what: "login" });
    await discard(answer);
  }

  /** A manifest or index by tag or digest; undefined when there is none. */
  async manifest(reference: string): Promise<Stored | undefined> {
    const what = `${this.name}:${reference}`;
    const answer = await this.#send("GET", `/manifests/${reference}`, what, [200, 404], {
      headers: { accept: ACCEPTED },
    });
    if (answer.status === 404) {
      await discard(answer);
      return undefined;
    }
    const bytes = await readBody(answer, MAX_MANIFEST_JSON_BYTES, what);
    const digest = digestOf(bytes);
    if (reference.startsWith("sha256:")) checkDigest(bytes, reference, what);
    const told = headerOf(answer, "docker-content-digest");
    if (told.startsWith("sha256:")) checkDigest(bytes, told, what);
    const manifest = parseManifest(bytes, what);
    return { bytes, digest, manifest };
  }

  /** Stores a manifest or index under a tag or its digest. True when the registry keeps the list of referrers itself. */
  async putManifest(reference: string, bytes: Uint8Array, mediaType: string): Promise<boolean> {
    const answer = await this.#send("PUT", `/manifests/${reference}`, `${this.name}:${reference}`, [201], {
      headers: { "content-type": mediaType },
      body: bytes,
    });
    await discard(answer);
    return headerOf(answer, "oci-subject") !== "";
  }

  /** The bytes of a blob. A transfer that breaks off goes on where it was, some times. */
  async blob({ digest, size }: Descriptor, progress: Progress = () => {}): Promise<Buffer> {
    const what = `${this.name}@${digest}`;
    if (size > MAX_ARTIFACT_BYTES)
      throw new ProxyError(
        "ARTIFACT_TOO_LARGE",
        "config",
        `${what}: it has ${size} bytes, and ${MAX_ARTIFACT_BYTES} are allowed`,
      );
    const bytes = Buffer.alloc(size);
    let done = 0;
    for (let attempt = 1; done < size || attempt === 1; attempt++) {
      const from = done;
      const answer = await this.#send(
        "GET",
        `/blobs/${digest}`,
        what,
        [200, 206],
        from === 0 ? TRANSFER : { ...TRANSFER, headers: { range: `bytes=${from}-` } },
      );
      if (answer.status === 200) done = 0;
      try {
        for await (const piece of answer.body as AsyncIterable<Buffer>) {
          if (done + piece.length > size)
            throw new ProxyError(
              "ARTIFACT_DIGEST",
              "config",
              `${what}: the registry sends more than the ${size} bytes that the manifest names`,
            );
          done += piece.copy(bytes, done);
          progress(done, size);
        }
      } catch (error) {
        if (error instanceof ProxyError || attempt === MAX_BLOB_TRIES) throw broken(what, done, size, error);
        continue;
      }
      if (done < size && attempt === MAX_BLOB_TRIES) throw broken(what, done, size, undefined);
      if (size === 0) break;
    }
    checkDigest(bytes, digest, what);
    return bytes;
  }

  /** Stores a blob unless it is there; from another repository of the registry without sending it, if the registry can. */
  async putBlob(bytes: Buffer, progress: Progress = () => {}, mountFrom?: string): Promise<string> {
    const digest = digestOf(bytes);
    const what = `${this.name}@${digest}`;
    const there = await this.#send("HEAD", `/blobs/${digest}`, what, [200, 404]);
    await discard(there);
    if (there.status === 200) {
      progress(bytes.length, bytes.length);
      return digest;
    }
    const mount = mountFrom === undefined ? "" : `?mount=${digest}&from=${encodeURIComponent(mountFrom)}`;
    const begun = await this.#send("POST", `/blobs/uploads/${mount}`, what, [201, 202]);
    await discard(begun);
    if (begun.status === 201) return digest;
    let location = uploadLocation(begun, what);
    if (bytes.length > UPLOAD_PIECE_BYTES) location = await this.#uploadPieces(bytes, location, what, progress);
    const rest = bytes.length > UPLOAD_PIECE_BYTES ? Buffer.alloc(0) : bytes;
    const target = new URL(location);
    target.searchParams.set("digest", digest);
    const answer = await this.#sendTo("PUT", target.href, what, [201], {
      ...TRANSFER,
      headers: { "content-type": "application/octet-stream" },
      body: rest,
    });
    await discard(answer);
    progress(bytes.length, bytes.length);
    return digest;
  }

  /** All tags, in the registry's order. */
  async tags(): Promise<string[]> {
    const what = `tags of ${this.name}`;
    const tags: string[] = [];
    for await (const answer of this.#pages("/tags/list?n=1000", what, [200])) {
      for (const tag of tagsIn(await readBody(answer, MAX_MANIFEST_JSON_BYTES, what), what)) tags.push(tag);
      if (tags.length >= MAX_TAGS) break;
    }
    return tags;
  }

  /** What refers to a manifest: by the referrers API, else by the tag that stands for it (specification 1.1). */
  async referrers(digest: string): Promise<readonly Descriptor[]> {
    const what = `referrers of ${this.name}@${digest}`;
    const found: Descriptor[] = [];
    for await (const answer of this.#pages(`/referrers/${digest}`, what, [200, 404, 400, 405])) {
      if (answer.status !== 200) {
        await discard(answer);
        return this.#referrersByTag(digest);
      }
      const index = parseManifest(await readBody(answer, MAX_MANIFEST_JSON_BYTES, what), what);
      if (isIndex(index)) for (const one of index.manifests) found.push(one);
      if (found.length >= MAX_REFERRERS) break;
    }
    return found;
  }

  async #referrersByTag(digest: string): Promise<readonly Descriptor[]> {
    const stored = await this.manifest(referrersTag(digest));
    return stored !== undefined && isIndex(stored.manifest) ? stored.manifest.manifests : [];
  }

  /** Stores a manifest (as `bytes`, when it is somebody else's) that refers to another (`subject`), and adds it to the list by tag where the registry keeps none. */
  async putReferrer(manifest: Manifest | Index, bytes = manifestBytes(manifest)): Promise<string> {
    const digest = digestOf(bytes);
    const listed = await this.putManifest(digest, bytes, manifest.mediaType);
    if (listed) return digest;
    const type = manifest.artifactType ?? (isIndex(manifest) ? undefined : manifest.config.mediaType);
    await this.#listByTag(manifest.subject!.digest, {
      mediaType: manifest.mediaType,
      digest,
      size: bytes.length,
      ...(type === undefined ? {} : { artifactType: type }),
      ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
    });
    return digest;
  }

  /** Adds an entry to the list under a tag; what others have written there stays, in words that are not known here too. */
  async #listByTag(subject: string, entry: Descriptor): Promise<void> {
    const tag = referrersTag(subject);
    const what = `${this.name}:${tag}`;
    const stored = await this.manifest(tag);
    const list = stored?.manifest;
    if (list !== undefined && !isIndex(list))
      throw new ProxyError("ARTIFACT_CONTENT", "config", `${what}: it is no list of referrers, and is not overwritten`);
    const known = list?.manifests ?? [];
    if (known.some(({ digest }) => digest === entry.digest)) return;
    if (known.length >= MAX_INDEX_ENTRIES)
      throw new ProxyError("ARTIFACT_CONTENT", "config", `${what}: ${MAX_INDEX_ENTRIES} referrers are allowed`);
    const kept =
      stored === undefined ? undefined : (JSON.parse(stored.bytes.toString("utf8")) as { manifests: unknown[] });
    const index = {
      schemaVersion: 2,
      mediaType: MediaType.INDEX,
      ...kept,
      manifests: [...(kept?.manifests ?? []), entry],
    };
    await this.putManifest(tag, Buffer.from(JSON.stringify(index)), MediaType.INDEX);
  }

  /** The answers of a list that comes in pages: each names the next one in its Link header (RFC 8288). */
  async *#pages(first: string, what: string, accept: readonly number[]): AsyncGenerator<RegistryAnswer, void> {
    let path: string | undefined = this.#base + first;
    for (let page = 0; path !== undefined && page < MAX_LIST_PAGES; page++) {
      const answer: RegistryAnswer = await this.#sendTo("GET", path, what, accept, {});
      const next = /<([^<>]+)>;\s*rel="?next"?/.exec(headerOf(answer, "link"))?.[1];
      path = next === undefined ? undefined : URL.parse(next, answer.url)?.href;
      yield answer;
    }
  }

  async #uploadPieces(bytes: Buffer, first: string, what: string, progress: Progress): Promise<string> {
    let location = first;
    for (let at = 0; at < bytes.length; at += UPLOAD_PIECE_BYTES) {
      const piece = bytes.subarray(at, at + UPLOAD_PIECE_BYTES);
      const answer = await this.#sendTo("PATCH", location, what, [202], {
        ...TRANSFER,
        headers: { "content-type": "application/octet-stream", "content-range": `${at}-${at + piece.length - 1}` },
        body: piece,
      });
      await discard(answer);
      location = uploadLocation(answer, what);
      progress(at + piece.length, bytes.length);
    }
    return location;
  }

  #send(
    method: "GET" | "HEAD" | "POST" | "PUT",
    path: string,
    what: string,
    accept: readonly number[],
    more: More = {},
  ): Promise<RegistryAnswer> {
    return this.#sendTo(method, this.#base + path, what, accept, more);
  }

  #sendTo(
    method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH",
    url: string,
    what: string,
    accept: readonly number[],
    more: More,
  ): Promise<RegistryAnswer> {
    const actions = method === "GET" || method === "HEAD" ? "pull" : "pull,push";
    return this.#http.send({ method, url, what, accept, scope: `repository:${this.name}:${actions}`, ...more });
  }
}

/** Where the next piece goes: absolute or relative, with a query of the registry's own; never put together anew. */
function uploadLocation(answer: RegistryAnswer, what: string): string {
  const location = headerOf(answer, "location");
  const place = location === "" ? null : URL.parse(location, answer.url);
  if (place === null)
    throw new ProxyError("ARTIFACT_REGISTRY", "config", `${what}: the registry names no place for the upload`);
  return place.href;
}

function tagsIn(bytes: Buffer, what: string): string[] {
  try {
    const { tags } = JSON.parse(bytes.toString("utf8")) as { tags?: unknown };
    return Array.isArray(tags) ? tags.filter((tag) => typeof tag === "string") : [];
  } catch (cause) {
    throw new ProxyError("ARTIFACT_REGISTRY", "config", `${what}: the registry's list is no JSON`, cause);
  }
}

/** The tag that stands for the list of referrers where there is no API: `sha256-…`. */
export function referrersTag(digest: string): string {
  return digest.replace(":", "-");
}

function broken(what: string, done: number, size: number, error: unknown): ProxyError {
  if (error instanceof ProxyError) return error;
  return new ProxyError(
    "ARTIFACT_UNREACHABLE",
    "config",
    `${what}: the transfer broke off after ${done} of ${size} bytes, ${MAX_BLOB_TRIES} times`,
    error,
  );
}
