/** A registry that a test scripts, with modules in it, and a cache that was filled from it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { DigestCache, sha256Of } from "../../runtime/artifact/digest-cache.ts";
import { OciCodeSource } from "../../runtime/artifact/oci-code.ts";
import { TrustPolicy } from "../../runtime/artifact/trust-policy.ts";
import { digestOf } from "../../runtime/registry/digest.ts";
import { pack } from "../../runtime/registry/layout.ts";
import { manifestBytes, MediaType } from "../../runtime/registry/manifest.ts";
import { generateKeyPair, readPrivateKey, signClassic } from "../../runtime/registry/signature.ts";
import { signatureTag } from "../../runtime/registry/trust.ts";
import { RecordingLog } from "../wasm/stage.ts";

const root = mkdtempSync(join(tmpdir(), "sluice-shelf-"));
after(() => rmSync(root, { recursive: true }));
const { privatePem, publicPem } = generateKeyPair(undefined);
const KEY = readPrivateKey(privatePem, undefined, "k");
/** Everything must be signed with the key of {@link OciShelf.sign}. */
export const RULE = [{ plugins: [], keys: [{ name: "team.pub", pem: publicPem }], enforced: true }];
let folders = 0;

/** A module that differs by `n`. */
export const moduleOf = (n: number): Buffer =>
  Buffer.concat([Buffer.from("0061736d01000000", "hex"), Buffer.of(0, 2, 1, n)]);

export class OciShelf {
  readonly folder = join(root, String(++folders));
  readonly log = new RecordingLog();
  readonly end = new AbortController();
  /** What lies in the registry, by the last part of its path. */
  readonly things = new Map<string, Buffer>();
  requests = 0;
  host = "";
  /** Instead of what lies there. */
  answer: ((response: ServerResponse) => void) | undefined;
  /** Told what was asked for and is not there. */
  missed: (name: string) => void = () => {};

  async open(): Promise<this> {
    const server = createServer((request, response) => {
      this.requests++;
      const name = request.url!.split("/").at(-1)!;
      const found = this.things.get(name);
      if (found === undefined) this.missed(name);
      if (this.answer !== undefined) this.answer(response);
      else response.writeHead(found === undefined ? 404 : 200).end(found);
    }).listen(0, "127.0.0.1");
    after(() => {
      server.closeAllConnections();
      server.close();
    });
    await once(server, "listening");
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    return this;
  }

  store(bytes: Buffer, ...names: string[]): string {
    for (const name of [digestOf(bytes), ...names]) this.things.set(name, bytes);
    return digestOf(bytes);
  }

  /** Puts a module there under a tag; its manifest's digest. */
  push(module: Buffer, tag = "1"): string {
    const { manifest, blobs } = pack(module, "cncf", { annotations: {}, manifest: undefined });
    for (const blob of blobs) this.store(blob);
    return this.store(manifestBytes(manifest), tag);
  }

  sign(digest: string): void {
    const { payload, signature } = signClassic(KEY, "r/x", digest);
    const annotations = { "dev.cosignproject.cosign/signature": signature.toString("base64") };
    const layer = {
      mediaType: MediaType.SIMPLE_SIGNING,
      digest: this.store(payload),
      size: payload.length,
      annotations,
    };
    const manifest = { schemaVersion: 2, config: { ...layer, annotations: undefined }, layers: [layer] };
    this.store(Buffer.from(JSON.stringify(manifest)), signatureTag(digest));
  }

  uri(what = ":1"): string {
    return `oci://${this.host}/a/b${what}`;
  }

  source(trust: ConstructorParameters<typeof TrustPolicy>[0] = []): OciCodeSource {
    const { folder, log, end } = this;
    return new OciCodeSource({
      config: { pullPolicy: undefined, pollMs: 0, dockerConfigs: [], ca: undefined, plainHttp: false },
      cache: new DigestCache(folder, 1_000_000, log),
      folder,
      trust: new TrustPolicy(trust, log),
      log,
      end: end.signal,
    });
  }

  /** Changes the one record of what a reference stood for. */
  forge(change: (record: { manifests: string[]; signatures?: unknown }) => void): void {
    const path = join(
      this.folder,
      readdirSync(this.folder).find((name) => name.endsWith(".ref"))!,
    );
    const record = JSON.parse(readFileSync(path, "utf8")) as { manifests: string[] };
    change(record);
    writeFileSync(path, JSON.stringify(record));
  }

  /** Somebody who can write the cache puts an evil module there, with a manifest of its own. */
  smuggle(): Buffer {
    const { manifest } = pack(moduleOf(66), "cncf", { annotations: {}, manifest: undefined });
    writeFileSync(join(this.folder, sha256Of(moduleOf(66))), moduleOf(66));
    return manifestBytes(manifest);
  }
}
