/** A shadow acts on nothing, whatever it does, and each kind of difference is counted and shown. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { statusText } from "../../runtime/cli/plugin-status-text.ts";
import type { PluginJson } from "../../runtime/cli/plugin-status-text.ts";
import { DIFFERENCE_KINDS } from "../../runtime/wasm/trial.ts";
import type { DifferenceKind } from "../../runtime/wasm/trial.ts";
import { bootstrap, ProxyProcess } from "../cli/proxy-process.ts";
import { choicesModule, send, until } from "./versions.ts";

interface Case {
  readonly title: string;
  readonly letter: string;
  readonly path: string;
  readonly kind: DifferenceKind | undefined;
  readonly says?: string;
  readonly undecided?: true;
}

const CASES: readonly Case[] = [
  { title: "an equal one", letter: "-", path: "/", kind: undefined },
  {
    title: "another response body",
    letter: "b",
    path: "/",
    kind: "bodies",
    says: "response body of 12 bytes, shadow 11 bytes",
  },
  {
    title: "another request body of the same length",
    letter: "q",
    path: "/",
    kind: "bodies",
    says: "request body of 5 bytes, shadow 5 bytes",
  },
  { title: "other trailers", letter: "t", path: "/", kind: "trailers", says: "response trailers x-end" },
  { title: "other metadata", letter: "m", path: "/", kind: "metadata", says: "metadata choices" },
  { title: "other filter state", letter: "f", path: "/", kind: "metadata", says: "metadata wasm.choices?state" },
  { title: "a header more", letter: "h", path: "/", kind: "headers", says: "response headers x-more" },
  { title: "another status", letter: "s", path: "/", kind: "status", says: "status 200, shadow 201" },
  { title: "an equal answer of its own", letter: "-", path: "/deny", kind: undefined },
  {
    title: "an answer with another status",
    letter: "a",
    path: "/deny",
    kind: "local_replies",
    says: "answers 403, shadow answers 429",
  },
  {
    title: "an answer with another body",
    letter: "b",
    path: "/deny",
    kind: "bodies",
    says: "answer of 2 bytes, shadow 3 bytes",
  },
  { title: "the same gRPC stream: it hears what the live one hears", letter: "-", path: "/talk", kind: undefined },
  {
    title: "a gRPC stream on which it says something else: it ends there",
    letter: "g",
    path: "/talk",
    kind: "headers",
    says: "request headers x-talk",
  },
  { title: "the same call: it gets the answer, too", letter: "-", path: "/call", kind: undefined },
  {
    title: "another call, which nobody answers",
    letter: "c",
    path: "/call",
    kind: "calls",
    says: "call 1 to side, shadow side",
    undecided: true,
  },
  {
    title: "other shared data, which nobody else reads",
    letter: "d",
    path: "/call",
    kind: "headers",
    says: "response headers x-asked",
  },
];

for (const isolation of ["WORKER", "CONNECTION", "STREAM"])
  test(`a shadow has no effect, and in what it differs is counted and shown (${isolation})`, async (t) => {
    const asked: string[] = [];
    const server = createServer((incoming, response) => {
      asked.push(incoming.url!);
      incoming.resume();
      incoming.on("end", () => response.writeHead(200, { "x-answer": "given" }).end("ok"));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    after(() => (server.close(), server.closeAllConnections()));
    const talk = await startTalk();
    const module = join(mkdtempSync(join(tmpdir(), "sluice-choices-")), "choices.wasm");
    writeFileSync(module, await choicesModule("-"));
    const port = (server.address() as AddressInfo).port;
    const cluster = (name: string, to: number, more = ""): string =>
      `{ name: ${name}, load_assignment: { cluster_name: ${name}, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${to} } } } }] }] }${more} }`;
    const http2 = `, typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http2_protocol_options: {} } } }`;
    const code = `vm_config: { runtime: envoy.wasm.runtime.v8, code: { local: { filename: "${module}" } } }`;
    const type = `"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm`;
    const proxy = await new ProxyProcess(
      `${bootstrap({
        routes: ["{ match: { prefix: / }, route: { cluster: side, timeout: 0s } }"],
        clusters: `[${cluster("side", port)}, ${cluster("talk", talk.port, http2)}]`,
        httpFilters: `- { name: choices, typed_config: { ${type}, config: { name: choices, ${code} } } }`,
      })}\nbootstrap_extensions: [{ name: wasm, typed_config: { "@type": type.googleapis.com/sluice.v1.WasmRuntime, defaults: { isolation: ${isolation} } } }]\n`,
      ["--concurrency", "1"],
    ).live();

    function post(path: string): Promise<{ status: number; body: string; asked: unknown }> {
      const [host, port] = proxy.address.split(":");
      return new Promise((resolve, reject) => {
        const outgoing = request({ host, port, path, method: "POST", agent: false }, (response) => {
          let body = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => (body += chunk));
          response.on("end", () => resolve({ status: response.statusCode!, body, asked: response.headers["x-asked"] }));
        });
        outgoing.on("error", reject);
        outgoing.end("body");
      });
    }

    async function plugin(): Promise<PluginJson> {
      const { body } = await proxy.get("/wasm?format=json", proxy.admin);
      return (JSON.parse(body) as { plugins: PluginJson[] }).plugins[0]!;
    }

    for (const { title, letter, path, kind, says, undecided } of CASES) {
      await t.test(title, async () => {
        const loaded = await send(proxy.admin, "/wasm/load?plugin=choices&shadow", await choicesModule(letter));
        assert.match(loaded.body, /"state":"shadow"/);
        asked.length = 0;
        talk.said.length = 0;
        const answer = await post(path);
        if (path === "/deny") assert.deepEqual(answer, { status: 403, body: "no and so on", asked: answer.asked });
        else
          assert.deepEqual(answer, { status: 200, body: "ok and so on", asked: path === "/call" ? "live" : undefined });
        // The call of the live version and its request: nothing was asked twice, or by the shadow.
        assert.deepEqual(asked, path === "/call" ? ["/question", "/call"] : path === "/deny" ? [] : [path]);
        // One stream, of the live version.
        assert.deepEqual(talk.said, path === "/talk" ? ["question", "more"] : []);
        const found = await until(plugin, ({ trial }) => trial?.undecided !== undefined && trialStreams(trial) === 1);
        const trial = found.trial!;
        const counts = Object.fromEntries(DIFFERENCE_KINDS.map((one) => [one, trial[`different_${one}`]]));
        assert.deepEqual(counts, Object.fromEntries(DIFFERENCE_KINDS.map((one) => [one, one === kind ? 1 : 0])));
        assert.equal(trial.undecided, undecided === true ? 1 : 0);
        const shown = statusText([found]);
        assert.ok(!shown.includes("secret"));
        if (says === undefined) assert.match(shown, /no differences/);
        else
          assert.match(
            shown,
            new RegExp(`; different: ${kind!.replace("_", " ")} 1.*\n.* request .*: ${says.replace("?", ".")}\n`),
          );
      });
    }

    await t.test("what it counts is its own", async () => {
      const { body } = await proxy.get("/stats?filter=choices.calls", proxy.admin);
      assert.match(body, /^wasmcustom\.choices\.calls: 3$/m);
      // They go over from the workers' numbers now and then.
      for (const one of DIFFERENCE_KINDS)
        await until(
          () => proxy.get(`/stats?filter=^wasm.choices.shadow.different_${one}$`, proxy.admin),
          ({ body: counted }) => /: [1-9]/.test(counted),
        );
    });
  });

/** A real gRPC server that numbers what it is asked on a stream. */
async function startTalk(): Promise<{ readonly port: number; readonly said: string[] }> {
  const said: string[] = [];
  const same = (value: Buffer): Buffer => value;
  const server = new grpc.Server();
  const method = {
    path: "/test.Talk/Chat",
    requestStream: true,
    responseStream: true,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  const chat = (call: grpc.ServerDuplexStream<Buffer, Buffer>): void => {
    let count = 0;
    call.on("error", () => {});
    call.on("data", (message: Buffer) => {
      said.push(message.toString());
      call.write(Buffer.from(`${count++ === 0 ? "first" : "next"} ${message.toString()}`));
    });
  };
  server.addService({ Chat: method }, { Chat: chat });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  after(() => server.forceShutdown());
  return { port, said };
}

/** Streams that the shadow has seen to their end. */
function trialStreams(trial: NonNullable<PluginJson["trial"]>): number {
  return trial.shadowed ?? 0;
}
