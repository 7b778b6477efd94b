import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BIN = `${ROOT}runtime/cli/sluice.js`;

let process_: ChildProcess;
let output = "";
/** The lines that it prints to try, in order. */
let lines: string[] = [];

before(async () => {
  const readme = readFileSync(`${ROOT}samples/quickstart/README.md`, "utf8");
  assert.match(readme, /```sh\nnpm start\n```/);
  const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as { scripts: { start: string } };
  assert.equal(scripts.start, "node runtime/cli/sluice.js quickstart");
  process_ = spawn(process.execPath, [BIN, "quickstart", "--free-ports", "--concurrency", "2"], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [process_.stdout!, process_.stderr!]) stream.on("data", (data) => (output += String(data)));
  const failed = once(process_, "exit").then(() => assert.fail(output));
  while (!output.includes("Ctrl-C ends everything.")) await Promise.race([once(process_.stdout!, "data"), failed]);
  failed.catch(() => {});
  lines = output.split("\n").filter((line) => line.startsWith("  curl ") || line.startsWith("  for "));
  assert.equal(lines.length, 10);
});
after(() => process_.kill("SIGKILL"));

/** Runs the first line that contains the texts, exactly as it was printed. */
function run(...texts: readonly string[]): Promise<string> {
  const line = lines.find((one) => texts.every((text) => one.includes(text)));
  assert.ok(line, `no line with ${texts.join(" and ")} in ${output}`);
  return new Promise((resolve, reject) => {
    execFile("sh", ["-c", line], (error, stdout) => (error instanceof Error ? reject(error) : resolve(stdout)));
  });
}

function header(answer: string, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)\r$`, "im").exec(answer)?.[1];
}

describe("samples/quickstart: every line that it prints works", () => {
  test("the upstream answers with the request it saw", async () => {
    const answer = await run("curl -i http");
    assert.match(answer, /^HTTP\/1.1 200 OK\r\n/);
    assert.equal(header(answer, "x-evangelist"), "hello from wasm");
    const seen = JSON.parse(answer.slice(answer.indexOf("{"))) as {
      method: string;
      path: string;
      headers: Record<string, string>;
    };
    assert.deepEqual([seen.method, seen.path, seen.headers["x-evangelist"]], ["GET", "/hello", "hello from wasm"]);
  });

  test("a body arrives", async () => {
    const answer = await run("/echo");
    const seen = JSON.parse(answer.slice(answer.indexOf("{"))) as { method: string; body: string };
    assert.deepEqual([seen.method, seen.body], ["POST", "some body"]);
  });

  test("the sixth request in a minute is answered 429", async () => {
    assert.equal(await run("for n in"), "200\n200\n200\n200\n200\n429\n");
  });

  test("the limited answer carries evangelist's header and the limit", async () => {
    const answer = await run("/limited", "curl -i");
    assert.match(answer, /^HTTP\/1.1 429 Too Many Requests\r\n/);
    assert.equal(header(answer, "x-evangelist"), "hello from wasm");
    assert.equal(header(answer, "x-envoy-ratelimited"), "true");
    assert.match(header(answer, "x-ratelimit-limit")!, /^5, 5;w=60/);
    assert.equal(header(answer, "x-ratelimit-remaining"), "0");
  });

  test("an abort as the request asks for it", async () => {
    const answer = await run("x-envoy-fault-abort-request: 503");
    assert.match(answer, /^HTTP\/1.1 503 Service Unavailable\r\n/);
    assert.equal(header(answer, "x-evangelist"), "hello from wasm");
    assert.match(answer, /\r\n\r\nfault filter abort$/);
  });

  test("a delay as the request asks for it", async () => {
    const seconds = Number((await run("x-envoy-fault-delay-request: 300")).split(" ")[0]);
    // The clock of timers goes in whole milliseconds.
    assert.ok(seconds >= 0.299, `${seconds} s`);
  });

  test("the admin interface", async () => {
    assert.equal(await run("/ready"), "LIVE\n");
    assert.match(await run("/stats"), /^http.ingress.downstream_rq_2xx: \d+$/m);
    assert.match(await run("/clusters"), /^upstream::127.0.0.1:\d+::rq_total::\d+$/m);
    assert.match(await run("/help"), /^admin commands are:\n/);
  });

  test("Ctrl-C ends everything with 0", async () => {
    process_.kill("SIGINT");
    const [status] = (await once(process_, "close")) as [number];
    assert.equal(status, 0);
  });

  test("by then access log and each phase of evangelist have been printed", () => {
    assert.match(output, /"GET \/hello HTTP\/1.1" 200 - /);
    assert.match(output, /"GET \/limited HTTP\/1.1" 429 RL /);
    assert.match(output, /"GET \/hello HTTP\/1.1" 503 FI /);
    assert.match(output, /evangelist.*decode headers: hello from wasm/);
    assert.match(output, /evangelist.*encode headers: hello from wasm/);
  });
});

describe("samples/quickstart", () => {
  test("busy ports are named", async () => {
    // Whoever holds it, this test or something else on the machine: it is busy.
    const holder = createServer().listen(10_001, "127.0.0.1");
    await new Promise<void>((resolve) => holder.once("listening", resolve).once("error", () => resolve()));
    after(() => holder.close());
    const child = spawn(process.execPath, [BIN, "quickstart"], { stdio: ["ignore", "ignore", "pipe"] });
    let text = "";
    child.stderr.on("data", (data) => (text += String(data)));
    const [status] = (await once(child, "close")) as [number];
    assert.equal(status, 1);
    assert.match(text, /^sluice: PORT_IN_USE: ports? .*10001 \(upstream\).* in use on 127.0.0.1; .*--free-ports/);
  });
});
