/**
 * Bad candidates by each way in, while requests flow over real sockets: the old version answers all of them, and the
 * reason is told as it is.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { sluice } from "../cli/command.ts";
import { ask, ProxyProcess } from "../cli/proxy-process.ts";
import { BAD_CANDIDATES, PlayedRegistry } from "./bad-candidates.ts";
import type { BadCandidate } from "./bad-candidates.ts";
import { configuration, send, startProxy, until, versionModule } from "./versions.ts";
import type { Proxy } from "./versions.ts";

const scratch = mkdtempSync(join(tmpdir(), "sluice-bad-"));
after(() => rmSync(scratch, { recursive: true }));

/** Requests one after the other on a few connections, until `end`. */
class Traffic {
  /** By status and version. */
  readonly seen = new Map<string, number>();
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 });
  #over = false;
  readonly #loops: Promise<void>[];

  constructor(address: string) {
    this.#loops = [1, 2, 3, 4].map(async () => {
      while (!this.#over) {
        const { status, headers } = await ask("GET", address, "/", this.#agent);
        const key = `${status} ${String(headers["x-version"])}`;
        this.seen.set(key, (this.seen.get(key) ?? 0) + 1);
      }
    });
  }

  /** Every answer so far was the old version's, and there were some since the last time. */
  async assertOld(): Promise<void> {
    await until(
      () => Promise.resolve(this.seen.size),
      (size) => size > 0,
    );
    assert.deepEqual([...this.seen.keys()], ["200 0001"]);
    this.seen.clear();
  }

  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#loops);
    this.#agent.destroy();
  }
}

function expected({ says }: Pick<BadCandidate, "says">, source: string, begin = "^", end = "\n$"): RegExp {
  const quoted = source.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`${begin}${says.replaceAll("SOURCE", quoted)}${end}`);
}

const POSTED = "posted to the admin interface";

/** A way to bring a module in. */
interface Way {
  readonly title: string;
  readonly args?: readonly string[];
  bring(proxy: Proxy, candidate: BadCandidate, n: number): Promise<void>;
}

/** Not in a test: what waits for something of another test belongs to that one, and so do its hooks. */
const registry = await PlayedRegistry.start();

const WAYS: readonly Way[] = [
  {
    title: "POST with the module as its body",
    async bring(proxy, candidate) {
      const { status, body } = await proxy.load(await candidate.module());
      assert.equal(status, 422);
      assert.match(body, expected(candidate, POSTED));
    },
  },
  {
    title: "POST with a file's name",
    async bring(proxy, candidate, n) {
      const file = join(scratch, `posted-${n}.wasm`);
      writeFileSync(file, await candidate.module());
      const { status, body } = await proxy.post(`/wasm/load?plugin=versions&file=${encodeURIComponent(file)}`);
      assert.equal(status, 422);
      assert.match(body, expected(candidate, file));
    },
  },
  {
    title: "sluice load",
    async bring(proxy, candidate, n) {
      const file = join(scratch, `loaded-${n}.wasm`);
      writeFileSync(file, await candidate.module());
      const { status, stdout, stderr } = await sluice("load", "--admin", proxy.admin, "versions", file);
      assert.deepEqual([status, stdout], [1, ""]);
      assert.match(stderr, expected(candidate, POSTED, "^sluice: "));
    },
  },
  {
    title: "a registry",
    async bring(proxy, candidate, n) {
      registry.tags.set(`bad-${n}`, { bytes: await candidate.module() });
      const reference = registry.reference(`bad-${n}`);
      const { status, body } = await proxy.post(`/wasm/load?plugin=versions&artifact=${encodeURIComponent(reference)}`);
      assert.equal(status, 422);
      assert.match(body, expected({ says: candidate.saysOfArtifact ?? candidate.says }, reference));
    },
  },
  {
    title: "a file that changes",
    args: ["--watch"],
    async bring(proxy, candidate) {
      const from = proxy.output.length;
      writeFileSync(proxy.module, await candidate.module());
      const reason = expected(candidate, proxy.module, "nothing was changed: ", "");
      await until(
        () => Promise.resolve(proxy.output.slice(from)),
        (output) => reason.test(output),
      );
    },
  },
];

/** The plugin is as it was, but for what is counted. */
async function assertUntouched(proxy: Proxy): Promise<void> {
  const { versions, trial } = await proxy.plugin();
  assert.deepEqual([versions.map(({ number }) => number), trial], [[1], undefined]);
  await until(
    () => proxy.stat("wasm.versions.instances"),
    (count) => count === 2,
  );
}

async function withTraffic(proxy: ProxyProcess, steps: (traffic: Traffic) => Promise<void>): Promise<void> {
  const traffic = new Traffic(proxy.address);
  try {
    await steps(traffic);
  } finally {
    await traffic.end();
  }
}

for (const { title, args = [], bring } of WAYS) {
  test(`${title}: the old version stays`, async (t) => {
    const proxy = await startProxy({ args: ["--concurrency", "2", ...args] });
    await withTraffic(proxy, async (traffic) => {
      for (const [n, candidate] of BAD_CANDIDATES.entries()) {
        await t.test(candidate.title, async () => {
          await bring(proxy, candidate, n);
          await traffic.assertOld();
        });
      }
      await assertUntouched(proxy);
    });
  });
}

test("a registry that fails: the old version stays", async (t) => {
  registry.tags.set("broken", { bytes: await versionModule(9), breaksAt: 1000 });
  registry.tags.set("other-bytes", { bytes: await versionModule(10), lies: true });
  const digest = "sha256:[0-9a-f]{64}";
  const proxy = await startProxy({ args: ["--concurrency", "1"] });
  await withTraffic(proxy, async (traffic) => {
    for (const [title, reference, says] of [
      [
        "a truncated download",
        registry.reference("broken"),
        new RegExp(
          `^ARTIFACT_UNREACHABLE: team/versions@${digest}: the transfer broke off after 1000 of \\d+ bytes, 5 times\n$`,
        ),
      ],
      [
        "other bytes than the digest says",
        registry.reference("other-bytes"),
        new RegExp(
          `^ARTIFACT_DIGEST: team/versions@(${digest}): its digest is ${digest}, not \\1: it was damaged or replaced on the way\n$`,
        ),
      ],
      [
        "no such tag",
        registry.reference("none"),
        /^ARTIFACT_MISSING: [\d.:]+\/team\/versions:none: the registry has no such repository, tag or digest\n$/,
      ],
      [
        "a registry that is gone",
        "oci://127.0.0.1:1/team/versions:1",
        /^ARTIFACT_UNREACHABLE: team\/versions:1: nothing listens on 127\.0\.0\.1:1\n$/,
      ],
    ] as const)
      await t.test(title, async () => {
        const path = `/wasm/load?plugin=versions&artifact=${encodeURIComponent(reference)}`;
        const { status, body } = await proxy.post(path);
        assert.equal(status, 422);
        assert.match(body, says);
        const { stderr } = await sluice("load", "--admin", proxy.admin, "versions", reference);
        assert.equal(stderr, `sluice: ${body}`);
        await traffic.assertOld();
      });
  });
});

test("a signature that is missing, or not good: the old version stays", async (t) => {
  const key = join(scratch, "key");
  const module = join(scratch, "signed.wasm");
  writeFileSync(module, await versionModule(1));
  assert.equal((await sluice("generate-key-pair", "--unencrypted", key)).status, 0);
  assert.equal((await sluice("sign", module, "--key", `${key}.key`)).status, 0);
  const runtime = `trust: [{ keys: [{ filename: "${key}.pub" }] }]`;
  const proxy = await new ProxyProcess(configuration(module, { runtime }), ["--concurrency", "1", "--watch"]).live();
  const load = (more: string, body: Uint8Array = Buffer.alloc(0)): Promise<{ status: number; body: string }> =>
    send(proxy.admin, `/wasm/load?plugin=versions${more}`, body);
  const next = await versionModule(2);
  await withTraffic(proxy, async (traffic) => {
    await t.test("posted", async () => {
      assert.match(
        (await load("", next)).body,
        /^SIGNATURE_MISSING: plugin versions: .*only files and artifacts in registries carry signatures\n$/,
      );
      await traffic.assertOld();
    });
    await t.test("sluice load", async () => {
      const file = join(scratch, "unsigned.wasm");
      writeFileSync(file, next);
      const { status, stderr } = await sluice("load", "--admin", proxy.admin, "versions", file);
      assert.equal(status, 1);
      assert.match(stderr, /^sluice: SIGNATURE_MISSING: plugin versions: /);
      await traffic.assertOld();
    });
    await t.test("a file with another one's signature", async () => {
      const file = join(scratch, "other.wasm");
      writeFileSync(file, next);
      writeFileSync(`${file}.sig`, readFileSync(`${module}.sig`));
      assert.match((await load(`&file=${encodeURIComponent(file)}`)).body, /^SIGNATURE_[A-Z]+: plugin versions: /);
      await traffic.assertOld();
    });
    await t.test("an artifact without one", async () => {
      registry.tags.set("unsigned", { bytes: next });
      const answer = await load(`&artifact=${encodeURIComponent(registry.reference("unsigned"))}`);
      assert.match(answer.body, /^SIGNATURE_MISSING: plugin versions: .*it carries no signature\n$/);
      await traffic.assertOld();
    });
    await t.test("the watched file", async () => {
      const from = proxy.output.length;
      writeFileSync(module, next);
      await until(
        () => Promise.resolve(proxy.output.slice(from)),
        (output) => /nothing was changed: SIGNATURE_[A-Z]+: plugin versions: /.test(output),
      );
      await traffic.assertOld();
    });
  });
});

/** A trap comes so late that nothing at the door can tell: it is taken back, by whichever way it came. */
for (const [title, args, bring] of [
  ["posted", [], async (proxy: Proxy, module: Buffer) => void (await proxy.load(module))],
  [
    "by sluice load",
    [],
    async (proxy: Proxy, module: Buffer) => {
      const file = join(scratch, "late.wasm");
      writeFileSync(file, module);
      assert.equal((await sluice("load", "--admin", proxy.admin, "versions", file)).status, 0);
    },
  ],
  ["in a watched file", ["--watch"], async (proxy: Proxy, module: Buffer) => writeFileSync(proxy.module, module)],
  [
    "from a registry",
    [],
    async (proxy: Proxy, module: Buffer) => {
      registry.tags.set("late", { bytes: module });
      const path = `/wasm/load?plugin=versions&artifact=${encodeURIComponent(registry.reference("late"))}`;
      assert.equal((await proxy.post(path)).status, 200);
    },
  ],
] as const) {
  test(`a trap at the thousandth request, ${title}: taken back by itself`, async () => {
    const proxy = await startProxy({ args: ["--concurrency", "1", ...args] });
    await bring(proxy, await versionModule(2, "m"));
    const traffic = new Traffic(proxy.address);
    await proxy.printed("is taken back for version 1");
    assert.match(
      proxy.output,
      /version 2 \(0\.0\.0, sha256 [0-9a-f]{12}\) is taken back for version 1 .*: 1 failure in \d+ streams/,
    );
    await until(
      () => proxy.version(),
      (version) => version === "0001",
    );
    await traffic.end();
    assert.equal(traffic.seen.get("503 undefined"), 1);
    assert.ok(traffic.seen.get("200 0002")! >= 999);
  });
}
