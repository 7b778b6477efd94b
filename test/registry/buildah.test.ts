/** Images that buildah makes as Istio tells authors to (`FROM scratch`, `COPY plugin.wasm ./`): read, pulled, and run by a proxy. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { configuration, versionModule } from "../hotload/versions.ts";
import { startRegistry } from "./registry-process.ts";
import type { Registry } from "./registry-process.ts";

const SLUICE = fileURLToPath(new URL("../../runtime/cli/sluice.js", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "sluice-buildah-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

function run(file: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { env: { ...process.env, DOCKER_CONFIG: scratch } }, (error, out, err) => {
      if (error === null) resolve(out);
      else reject(new Error(`${file} ${args.join(" ")}\n${out}${err}`));
    });
  });
}

/** Without a daemon, and with all that it keeps in the scratch folder. */
const buildah = (...args: string[]): Promise<string> =>
  run("buildah", [
    "--storage-driver=vfs",
    `--root=${join(scratch, "storage")}`,
    `--runroot=${join(scratch, "run")}`,
    ...args,
  ]);

describe("an image that buildah has made", () => {
  let registry: Registry;
  let module: Uint8Array;
  before(async () => {
    registry = await startRegistry();
    writeFileSync(join(scratch, "config.json"), "{}");
    module = await versionModule(7);
    const folder = join(scratch, "image");
    mkdirSync(folder);
    writeFileSync(join(folder, "plugin.wasm"), module);
    writeFileSync(join(folder, "Containerfile"), "FROM scratch\nCOPY plugin.wasm ./\n");
  });
  after(() => registry.stop());

  for (const format of ["oci", "docker"]) {
    it(`of the format ${format} is read, pulled and run`, async () => {
      const reference = `${registry.host}/built/${format}:1`;
      await buildah("build", "--isolation=chroot", `--format=${format}`, "-t", reference, join(scratch, "image"));
      await buildah(
        "push",
        "--tls-verify=false",
        `--format=${format === "oci" ? "oci" : "v2s2"}`,
        reference,
        `docker://${reference}`,
      );

      const told = JSON.parse(await run(process.execPath, [SLUICE, "inspect", reference, "--json"])) as {
        readonly layout: string;
        readonly size: number;
      };
      assert.deepEqual([told.layout, told.size], ["istio", module.length]);
      const file = join(scratch, `${format}.wasm`);
      await run(process.execPath, [SLUICE, "pull", reference, "-o", file]);
      assert.ok(readFileSync(file).equals(module));

      const remote = `code: { remote: { http_uri: { uri: "oci://${reference}", cluster: none, timeout: 60s }, sha256: unpinned } }`;
      const config = configuration("MODULE", {
        runtime: `code_cache: { path: "${join(scratch, `${format}-cache`)}" }`,
      });
      const proxy = await new ProxyProcess(config.replace('code: { local: { filename: "MODULE" } }', remote)).live();
      assert.equal((await proxy.get("/")).headers["x-version"], "0007");
    });
  }
});
