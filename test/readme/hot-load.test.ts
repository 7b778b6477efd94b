/** "Hot load" and "Rolling out safely" as the README shows them: commands run against a proxy, configurations taken. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildFilter } from "../../filters/build/build.ts";
import { bootstrap, snapshotOf } from "../config/fixture.ts";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { README } from "./tables.ts";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));
const SLUICE = join(REPOSITORY, "runtime/cli/sluice.js");
const readme = readFileSync(README, "utf8");

function chapter(title: string): string {
  const from = readme.indexOf(`\n## ${title}\n`);
  assert.notEqual(from, -1, title);
  return readme.slice(from, readme.indexOf("\n## ", from + 1));
}

function blocks(title: string, language: string): string[] {
  return [...chapter(title).matchAll(new RegExp(`\`\`\`${language}\\n([^\`]*)\`\`\``, "g"))].map((match) => match[1]!);
}

let module = "";
before(async () => {
  const outFolder = join(REPOSITORY, "build/samples");
  const { path } = await buildFilter("samples/custom-filter/filter/tollgate", { outFolder });
  module = join(mkdtempSync(join(tmpdir(), "sluice-readme-")), "new.wasm");
  copyFileSync(path, module);
});

describe("README", () => {
  test("the commands of hot load and rollouts do what is said", async () => {
    const yaml = readFileSync(join(REPOSITORY, "samples/custom-filter/sluice.yaml"), "utf8")
      .replace("../../build/samples/tollgate.wasm", join(REPOSITORY, "build/samples/tollgate.wasm"))
      .replace("port_value: 10000", "port_value: 0");
    const admin = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n";
    const proxy = await new ProxyProcess(admin + yaml, ["--concurrency", "2"]).live();
    const lines = [...blocks("Hot load", "sh"), ...blocks("Rolling out safely", "sh")].join("").trim().split("\n");
    const outcomes: string[] = [];
    for (const line of lines) {
      const [npx, program, ...args] = line.replace(/new\.wasm|tollgate\/build\/tollgate\.wasm/, module).split(" ");
      assert.deepEqual([npx, program], ["npx", "sluice"], line);
      outcomes.push(await run([...args, "--admin", proxy.admin]));
    }
    const says = [
      /version 2 .* serves all streams/,
      /^tollgate\n {2}version 2 +live/,
      /version 1 .* serves all streams/,
    ];
    const tried = [/version 3 .* is on trial/, /version 4 .* is on trial/, /version 5 .* is a shadow/];
    for (const [n, pattern] of [...says, ...tried, /version 5 .* serves all streams/].entries())
      assert.match(outcomes[n]!, pattern);
    assert.equal(outcomes.length, says.length + tried.length + 1);
  });

  test("the configurations of hot load and rollouts are taken", () => {
    process.env["SLUICE_TOKEN"] = "open sesame";
    const filters = `{ name: evangelist, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault } },`;
    const [hot] = blocks("Hot load", "yaml").map((rest) => snapshotOf(bootstrap({ rest, filters })).hotLoad);
    assert.deepEqual(
      [hot?.token, hot?.keepVersions, hot?.drainMs, hot?.bounds.maxFailures],
      ["open sesame", 3, 600_000, 1],
    );
    const [out] = blocks("Rolling out safely", "yaml").map((rest) => snapshotOf(bootstrap({ rest, filters })).hotLoad);
    assert.deepEqual(out?.rollouts["evangelist"], {
      shadow: false,
      percent: 10,
      header: "",
      headerValue: "",
      headerPercent: 100,
      sticky: true,
    });
    assert.deepEqual(out.bounds, {
      maxFailures: 3,
      windowMs: 60_000,
      maxAddedLatencyMs: 5,
      minStreams: 200,
      latencyPercentiles: [50, 90, 99],
    });
  });
});

function run(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [SLUICE, ...args], { cwd: REPOSITORY }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${args.join(" ")}: ${stderr}`));
    });
  });
}
