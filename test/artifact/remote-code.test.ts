/** Code named by URI and digest: attempts, their turns and reasons, the cache, and what is pursued when it cannot be had. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, get } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, describe, test } from "node:test";
import { DigestCache, sha256Of } from "../../runtime/artifact/digest-cache.ts";
import { PluginCode } from "../../runtime/artifact/plugin-code.ts";
import { OciCodeSource } from "../../runtime/artifact/oci-code.ts";
import { RemoteCodeSource } from "../../runtime/artifact/remote-code.ts";
import { TrustPolicy } from "../../runtime/artifact/trust-policy.ts";
import type { RemoteCode } from "../../runtime/config/snapshot.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { freePort } from "../bench/processes.ts";
import { cluster } from "../http/engine.ts";
import { pluginConfig, RecordingLog, RecordingStats } from "../wasm/stage.ts";

const root = mkdtempSync(join(tmpdir(), "sluice-code-"));
after(() => rmSync(root, { recursive: true }));
const CODE = Buffer.from("the code");
let folders = 0;

/** A server that answers each request with the next of `answers`: a status, or bytes. The last one is for all that follow. */
class Shelf {
  readonly answers: (number | Buffer)[];
  requests = 0;
  #server!: Server;
  readonly folder = join(root, String(++folders));
  readonly log = new RecordingLog();
  readonly stats = new RecordingStats();
  readonly trust = new TrustPolicy([], this.log);
  readonly end = new AbortController();
  source!: RemoteCodeSource;
  oci!: OciCodeSource;

  constructor(answers: (number | Buffer)[]) {
    this.answers = answers;
  }

  async open(): Promise<this> {
    const server = (this.#server = createServer((_request, response) => {
      const answer = this.answers[Math.min(this.requests++, this.answers.length - 1)]!;
      if (typeof answer === "number") response.writeHead(answer).end();
      else response.end(answer);
    }).listen(0, "127.0.0.1"));
    after(() => server.close());
    await once(server, "listening");
    const dead = await freePort();
    const clusters = [cluster("shelf", [(server.address() as AddressInfo).port]), cluster("dead", [dead])];
    const cache = new DigestCache(this.folder, 1_000_000, this.log);
    const registries = { pullPolicy: undefined, pollMs: 0, dockerConfigs: [], ca: undefined, plainHttp: false };
    const { folder, log, end, trust } = this;
    this.oci = new OciCodeSource({ config: registries, cache, folder, trust, log, end: end.signal });
    this.source = new RemoteCodeSource(clusters, cache, this.oci, this.stats, this.log);
    return this;
  }

  /** Resolves with the number of requests once all that were on their way have come. */
  async settled(): Promise<number> {
    // Connections are accepted in the order in which they came: this one after theirs.
    const { port } = this.#server.address() as AddressInfo;
    await once(
      get({ port, host: "127.0.0.1", agent: false }).on("response", (response) => response.resume()),
      "close",
    );
    const own = 1;
    const open = (): Promise<number> =>
      new Promise((resolve) => this.#server.getConnections((_, count) => resolve(count)));
    while ((await open()) > 0) await sleep(1);
    return (this.requests -= own);
  }

  plugins(): PluginCode {
    return new PluginCode(this.source, this.oci, this.trust, this.log, this.end);
  }

  counted(): (number | undefined)[] {
    return ["cache_hits", "cache_misses", "fetch_successes", "fetch_failures"].map((name) =>
      this.stats.values.get(`wasm.remote_load_${name}`),
    );
  }
}

function code(more: Partial<RemoteCode> = {}): RemoteCode {
  return {
    kind: "remote",
    uri: "http://modules.test/a.wasm",
    cluster: "shelf",
    timeoutMs: 60_000,
    sha256: sha256Of(CODE),
    retries: 2,
    retryBaseIntervalMs: 1,
    retryMaxIntervalMs: 4,
    nackOnCacheMiss: false,
    ...more,
  };
}

describe("remote code", () => {
  test("is fetched once, and from then on the cache has it, network or not", async () => {
    const shelf = await new Shelf([CODE]).open();
    const both = await Promise.all([shelf.source.get(code()), shelf.source.get(code())]);
    assert.deepEqual([...both, await shelf.source.get(code({ cluster: "dead" }))], [CODE, CODE, CODE]);
    assert.equal(shelf.requests, 1);
    assert.deepEqual(shelf.counted(), [1, 1, 1, undefined]);
  });

  test("other bytes are no code: tried again, then refused with both digests, and not kept", async () => {
    const other = Buffer.from("other code");
    const shelf = await new Shelf([other, other, CODE]).open();
    assert.deepEqual(await shelf.source.get(code()), CODE);
    const bad = await new Shelf([other]).open();
    const message = `DOWNLOAD_DIGEST: http://modules.test/a.wasm: the sha256 is ${sha256Of(other)}, not ${sha256Of(CODE)}`;
    await assert.rejects(bad.source.get(code()), { message });
    assert.equal(bad.requests, 3);
    assert.equal(new DigestCache(bad.folder, 1000, bad.log).get(sha256Of(other)), undefined);
    assert.match(bad.log.lines.join("\n"), /the sha256 is .*; next try in [1-4] ms/);
  });

  test("is tried again as often as it may, and no more", async () => {
    const patient = await new Shelf([503, 404, CODE]).open();
    assert.deepEqual(await patient.source.get(code()), CODE);
    assert.deepEqual(patient.counted(), [undefined, 1, 1, 2]);
    const hasty = await new Shelf([503, CODE]).open();
    await assert.rejects(hasty.source.get(code({ retries: 0 })), /DOWNLOAD_STATUS: .*status 503/);
    assert.equal(hasty.requests, 1);
    // What failed is not remembered.
    assert.deepEqual(await hasty.source.get(code({ retries: 0 })), CODE);
  });
});

describe("code of plugins", () => {
  const plugins = (...codes: RemoteCode[]) =>
    codes.map((one, n) => pluginConfig({ name: `p${n}`, code: one, failurePolicy: "FAIL_OPEN" }));

  test("all that can be had, and a word about the rest", async () => {
    const shelf = await new Shelf([CODE]).open();
    const code1 = code({ sha256: "0".repeat(64), cluster: "dead", retries: 0 });
    const fetched = await shelf.plugins().fetch(plugins(code(), code1, code()));
    assert.deepEqual([...fetched], [[sha256Of(CODE), CODE]]);
    assert.match(
      shelf.log.lines.join("\n"),
      /error plugin p1 has no code, its streams get FAIL_OPEN: DOWNLOAD_UNREACHABLE/,
    );
    assert.equal(shelf.requests, 1);
  });

  test("nack_on_code_cache_miss refuses what has none", async () => {
    const shelf = await new Shelf([404]).open();
    const all = shelf.plugins().fetch(plugins(code({ nackOnCacheMiss: true, retries: 0 })));
    await assert.rejects(all, /CODE_MISSING: plugin p0: DOWNLOAD_STATUS: .*status 404/);
  });

  test("what is missing is pursued until it is taken", async () => {
    const shelf = await new Shelf([404, 404, CODE]).open();
    const missing = shelf.plugins();
    const wanted = code({ retries: 0 });
    assert.equal((await missing.fetch(plugins(wanted))).size, 0);
    const offered: [string, string][] = [];
    missing.pursue(async (one, bytes) => {
      offered.push([one.uri, bytes.toString()]);
      if (offered.length < 3) throw new ProxyError("GUEST_START", "guest", "not now");
    });
    while (offered.length < 3) await sleep(1);
    assert.deepEqual(
      offered,
      Array.from({ length: 3 }, () => [wanted.uri, "the code"]),
    );
    const lines = shelf.log.lines.filter((line) => line.includes("next try in 100 ms"));
    assert.deepEqual(
      lines.map((line) => /: (\w+): (?:.*: )?(.*)$/.exec(line)?.slice(1)),
      [
        ["DOWNLOAD_STATUS", "status 404"],
        ["GUEST_START", "not now"],
        ["GUEST_START", "not now"],
      ],
    );
    await sleep(150);
    assert.equal(offered.length, 3);
    missing.stop();
  });

  test("the end of the process ends the pursuit", async () => {
    const shelf = await new Shelf([404]).open();
    const missing = shelf.plugins();
    await missing.fetch(plugins(code({ retries: 0 })));
    missing.pursue(async () => {});
    while (shelf.requests < 3) await sleep(1);
    missing.stop();
    const seen = await shelf.settled();
    await sleep(150);
    assert.equal(shelf.requests, seen);
  });
});
