/** A network filter is swapped in front of tcp_proxy: connections keep the version that they began with. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { buildFilter } from "../../filters/build/build.ts";
import { ProxyProcess } from "../cli/proxy-process.ts";
import { send, until } from "./versions.ts";

const SOURCE = `import { NetworkFilter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { downstreamData } from "sluice/filters/sdk/body.ts";
import { CONTINUE } from "sluice/abi/action.ts";

class Stamp extends NetworkFilter {
  override onDownstreamData(_size: u32, _endOfStream: bool): i32 {
    downstreamData.prepend("version-1:");
    return CONTINUE;
  }
}
class Root extends RootContext {
  override createFilter(): StreamContext { return new Stamp(); }
}
register((): RootContext => new Root());
`;

async function stampModule(): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-stamp-"));
  const filter = join(folder, "stamp");
  mkdirSync(filter);
  writeFileSync(join(filter, "stamp.ts"), SOURCE);
  writeFileSync(join(filter, "filter.json"), `{ "version": "1.0.0" }`);
  const { path } = await buildFilter(filter, { outFolder: join(folder, "out") });
  return readFileSync(path);
}

function version(module: Buffer, digit: string): Buffer {
  const bytes = Buffer.from(module);
  const at = bytes.indexOf(Buffer.from("version-1:", "utf16le"));
  assert.notEqual(at, -1);
  bytes.write(digit, at + "version-".length * 2, "utf16le");
  return bytes;
}

/** What comes back: the text behind a stamp, in however many pieces. */
async function say(socket: Socket, text: string): Promise<string> {
  let answer = "";
  socket.write(text);
  while (answer.length < "version-1:".length + text.length) {
    const [data] = (await once(socket, "data")) as [Buffer];
    answer += data.toString();
  }
  return answer;
}

interface Stage {
  readonly proxy: ProxyProcess;
  readonly module: Buffer;
  open(): Promise<Socket>;
  load(version: string, more?: string): Promise<void>;
}

/** A proxy that stamps bytes from downstream with version 1 and carries them to an echo. */
async function startStage(): Promise<Stage> {
  const echo = createServer((socket) => void socket.on("error", () => {}).pipe(socket)).listen(0, "127.0.0.1");
  await once(echo, "listening");
  after(() => echo.close());
  const module = await stampModule();
  const path = join(mkdtempSync(join(tmpdir(), "sluice-stamp-")), "stamp.wasm");
  writeFileSync(path, module);
  const type = (name: string): string => `"@type": type.googleapis.com/envoy.extensions.filters.network.${name}`;
  const vm = `vm_config: { runtime: envoy.wasm.runtime.v8, code: { local: { filename: "${path}" } } }`;
  const place = (port: number): string => `{ socket_address: { address: 127.0.0.1, port_value: ${port} } }`;
  const endpoint = `{ endpoint: { address: ${place((echo.address() as AddressInfo).port)} } }`;
  const proxy = await new ProxyProcess(
    `
admin: { address: ${place(0)} }
static_resources:
  clusters: [{ name: echo, load_assignment: { cluster_name: echo, endpoints: [{ lb_endpoints: [${endpoint}] }] } }]
  listeners:
    - name: tcp
      address: ${place(0)}
      filter_chains:
        - filters:
            - { name: stamp, typed_config: { ${type("wasm.v3.Wasm")}, config: { name: stamp, ${vm} } } }
            - { name: tcp, typed_config: { ${type("tcp_proxy.v3.TcpProxy")}, stat_prefix: tcp, cluster: echo } }
`,
    ["--concurrency", "1"],
  ).live();
  const open = async (): Promise<Socket> => {
    const [host, port] = proxy.address.split(":");
    const socket = connect(Number(port), host);
    await once(socket, "connect");
    after(() => socket.destroy());
    return socket;
  };
  const load = async (digit: string, more = ""): Promise<void> => {
    const { status, body } = await send(proxy.admin, `/wasm/load?plugin=stamp${more}`, version(module, digit));
    assert.equal(status, 200, body);
  };
  return { proxy, module, open, load };
}

test("a connection has one version of a network filter for as long as it lasts", async () => {
  const { proxy, open, load } = await startStage();
  const first = await open();
  assert.equal(await say(first, "a"), "version-1:a");
  await load("2");
  const second = await open();
  assert.equal(await say(second, "b"), "version-2:b");
  assert.equal(await say(first, "c"), "version-1:c");
  const instances = async (): Promise<number> => {
    const { body } = await proxy.get("/stats?filter=^wasm.stamp.instances$", proxy.admin);
    return Number(body.split(": ")[1]);
  };
  assert.equal(await instances(), 2);
  first.destroy();
  await until(instances, (count) => count === 1);
  assert.equal(await say(second, "d"), "version-2:d");
});

test("a share of the connections has the candidate, each for as long as it lasts", async () => {
  const { proxy, open, load } = await startStage();
  await load("2", "&percent=30");
  let candidates = 0;
  for (let n = 0; n < 400; n++) {
    const socket = await open();
    const stamp = await say(socket, "a");
    assert.equal(await say(socket, "b"), stamp.replace("a", "b"));
    if (stamp === "version-2:a") candidates++;
    socket.destroy();
  }
  // Seven standard deviations: once in 10^11 runs.
  const spread = 7 * Math.sqrt(400 * 0.3 * 0.7);
  assert.ok(Math.abs(candidates - 120) < spread, `${candidates} of 400`);
  const trial = await until(
    async () => trialOf(await proxy.get("/wasm?format=json", proxy.admin)),
    ({ streams, other_streams }) => streams + other_streams === 400,
  );
  assert.equal(trial.streams, candidates);
});

test("a header chooses no connections: it is refused, and nothing has changed", async () => {
  const { proxy, module } = await startStage();
  for (const more of ["", "&percent=30"]) {
    const path = `/wasm/load?plugin=stamp&header=x-canary${more}`;
    const { status, body } = await send(proxy.admin, path, version(module, "2"));
    assert.equal(status, 400);
    assert.match(body, /^PLUGIN_PARAMETER: header: stamp is a network filter, and connections have no headers/);
  }
  const { body } = await proxy.get("/wasm?format=json", proxy.admin);
  assert.equal((JSON.parse(body) as { plugins: { trial?: unknown }[] }).plugins[0]!.trial, undefined);
});

test("a shadow of a network filter sees copies of connections, and changes nothing", async () => {
  const { proxy, open, load } = await startStage();
  for (const [digit, bodies] of [
    ["1", 0],
    ["2", 1],
  ] as const) {
    await load(digit, "&shadow");
    const socket = await open();
    assert.equal(await say(socket, "a"), "version-1:a");
    assert.equal(await say(socket, "b"), "version-1:b");
    socket.destroy();
    const trial = await until(
      async () => trialOf(await proxy.get("/wasm?format=json", proxy.admin)),
      // Examples come from the workers, who were asked before the numbers were read.
      ({ shadowed, examples }) => shadowed === 1 && examples.length === bodies,
    );
    assert.deepEqual([trial.undecided, trial.different_bodies, trial.different_local_replies], [0, bodies, 0]);
    if (bodies === 0) continue;
    assert.match(trial.examples[0]!.text, /^(\d+) bytes from downstream, shadow \1 bytes$/);
    assert.match(trial.examples[0]!.of, /^connection \d+$/);
  }
});

interface Trial {
  readonly streams: number;
  readonly other_streams: number;
  readonly shadowed: number;
  readonly undecided: number;
  readonly different_bodies: number;
  readonly different_local_replies: number;
  readonly examples: readonly { readonly of: string; readonly text: string }[];
}

function trialOf({ body }: { readonly body: string }): Trial {
  return (JSON.parse(body) as { plugins: { trial: Trial }[] }).plugins[0]!.trial;
}
