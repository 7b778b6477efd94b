/**
 * Every host function, as the tables beside this file say it: what works, every bad address in every pointer, members of no
 * set, the wrong phase, what is over a limit; through a real guest. And the reason of every refusal, told at debug level.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { HOST_FUNCTIONS } from "../../../abi/functions.ts";
import * as Status from "../../../abi/status.ts";
import { BodyBuffer } from "../../../runtime/codec/body.ts";
import { MAX_GUEST_BODY_BYTES } from "../../../runtime/limits.ts";
import { ClusterSet } from "../../../runtime/upstream/clusters.ts";
import { SharedStore } from "../../../runtime/wasm/shared.ts";
import { statusName } from "../../../runtime/wasm/values/status-name.ts";
import { clusterConfig, endpoint } from "../../upstream/fixtures.ts";
import { ALLOCATOR_FAILS, CALLBACKS, Puppet } from "../puppet.ts";
import type { Argument, Call } from "../puppet.ts";
import { bodyOf, RecordingStats, Stage } from "../stage.ts";
import { hasTest } from "./test-names.ts";
import type { Arg, Case, FunctionCases, Phase, Row } from "./arguments.ts";
import { CASES } from "./cases.ts";
import { QUIET } from "./env-functions.ts";
import { ERRNO, WASI_CASES } from "./wasi-functions.ts";

const OUTSIDE = 0x7fff_0000;
/** Of the guest's memory, so that even the longest value that a function may refuse lies inside. */
const MORE_PAGES = 24;

// ---- the cases of a function --------------------------------------------------------------------

/** A case, with what `change` cannot say: numbers in place of an argument. */
interface Made extends Case {
  readonly raw?: { readonly index: number; readonly numbers: (good: readonly Argument[]) => readonly Argument[] };
}

/** Bad addresses: outside of memory, with the last byte outside, and around the end of the address space. */
function badAddresses(memoryBytes: number, size: number): readonly (readonly [name: string, address: number])[] {
  return [
    ["outside", OUTSIDE],
    ["at the edge", memoryBytes - size + 1],
    ["wrapping", -1],
  ];
}

function pointerCases(cases: FunctionCases, memoryBytes: number): Made[] {
  const status = cases.outside ?? Status.INVALID_MEMORY_ACCESS;
  return cases.args.flatMap((arg, index): Made[] => {
    const bad = (what: string, numbers: (good: readonly Argument[]) => readonly Argument[], answer = status): Made => ({
      name: `argument ${index} ${what}`,
      change: {},
      status: answer,
      raw: { index, numbers },
    });
    const addresses = (size: number): readonly (readonly [string, number])[] => badAddresses(memoryBytes, size);
    switch (arg.kind) {
      case "in": {
        const size = Math.max(arg.bytes.length, 2);
        return [
          ...addresses(size).map(([what, address]) => bad(what, () => [address, size])),
          bad("of 4 GiB", ([address]) => [address!, -1], cases.huge ?? status),
        ];
      }
      case "at":
        return addresses(arg.bytes.length).map(([what, address]) => bad(what, () => [address]));
      case "out":
        return addresses(arg.bytes).map(([what, address]) => bad(what, () => [address]));
      case "result":
        return addresses(4).flatMap(([what, address]) => [
          bad(`${what}: pointer`, ([, size]) => [address, size!]),
          bad(`${what}: size`, ([pointer]) => [pointer!, address]),
        ]);
      default:
        return [];
    }
  });
}

function setCases(cases: FunctionCases): Made[] {
  return cases.args.flatMap((arg, index) =>
    arg.kind === "set"
      ? arg.bad.map((bad): Made => ({
          name: `argument ${index} is ${bad}, which is none`,
          change: { [index]: { kind: "value", value: bad } },
          status: arg.status,
        }))
      : [],
  );
}

/** Good addresses that end where memory ends. */
function edgeCases(cases: FunctionCases, memoryBytes: number): Made[] {
  return cases.args.flatMap((arg, index) =>
    arg.kind === "out"
      ? [
          {
            name: `argument ${index} ends with memory`,
            change: {},
            status: cases.status ?? Status.OK,
            raw: { index, numbers: () => [memoryBytes - arg.bytes] },
          },
        ]
      : [],
  );
}

function casesOf(cases: FunctionCases, memoryBytes: number): Made[] {
  const works = { name: "works", change: {}, status: cases.status ?? Status.OK };
  return [
    works,
    ...(cases.others ?? []),
    ...(Array.isArray(cases.limit) ? (cases.limit as Case[]) : []),
    ...setCases(cases),
    ...pointerCases(cases, memoryBytes),
    ...edgeCases(cases, memoryBytes),
    { ...works, name: "in a root context", status: cases.root, phase: "tick" },
    { ...works, name: "in the log phase", status: cases.log, phase: "log" },
  ];
}

// ---- calls --------------------------------------------------------------------------------------

/** Writes arguments into the guest's memory, each content once. */
class Script {
  readonly puppet = new Puppet();
  readonly #texts = new Map<string, [number, number]>();
  readonly #cells = new Map<string, number>();

  cell(name: string): number {
    let at = this.#cells.get(name);
    if (at === undefined) this.#cells.set(name, (at = this.puppet.text(Buffer.alloc(32))[0]));
    return at;
  }

  text(bytes: Uint8Array): [number, number] {
    const key = Buffer.from(bytes).latin1Slice();
    let at = this.#texts.get(key);
    if (at === undefined) this.#texts.set(key, (at = this.puppet.text(bytes)));
    return at;
  }

  numbers(arg: Arg): readonly Argument[] {
    switch (arg.kind) {
      case "in":
        return this.text(arg.bytes);
      case "at":
        return [this.text(arg.bytes)[0]];
      case "span":
        return [arg.at, arg.size];
      case "out":
        return [this.cell(arg.name.replace(/_p$/, ""))];
      case "result":
        return [this.cell("result pointer"), this.cell("result size")];
      case "held":
        return [{ load: this.cell(arg.name) }];
      default:
        return [arg.value];
    }
  }

  row([name, ...args]: Row): Call {
    return this.puppet.call(name, ...args.flatMap((arg) => this.numbers(arg)));
  }

  call(name: string, args: readonly Arg[], { change, raw }: Made): Call {
    const numbers = args.map((arg, n) => this.numbers(change[n] ?? arg));
    if (raw !== undefined) numbers[raw.index] = raw.numbers(numbers[raw.index]!);
    return this.puppet.call(name, ...numbers.flat());
  }
}

const CALLBACK: Readonly<Record<Phase, string>> = {
  headers: "proxy_on_request_headers",
  body: "proxy_on_request_body",
  "full body": "proxy_on_request_body",
  log: "proxy_on_log",
  tick: "proxy_on_tick",
};

let upstreams: ClusterSet;
const peer = createServer((socket) => socket.on("error", () => {}));
before(async () => {
  peer.listen(0, "127.0.0.1");
  await once(peer, "listening");
  const { port } = peer.address() as AddressInfo;
  const target = [endpoint(port)];
  const grpc = clusterConfig(target, { name: "grpc", statName: "grpc", protocol: "HTTP2" });
  upstreams = new ClusterSet([clusterConfig(target), grpc], new RecordingStats());
  await upstreams.start();
});
after(() => {
  upstreams.close();
  peer.close();
});

class Trial {
  readonly script = new Script();
  readonly stage: Stage;

  constructor() {
    const grows = Array.from({ length: MORE_PAGES }, () => this.script.puppet.grow());
    this.script.puppet.on("proxy_on_configure", 1, ...grows);
    this.stage = Stage.started(this.script.puppet, {
      upstreams,
      shared: SharedStore.create(),
      runtime: { number: 5 },
      config: { vmId: "vm", environment: { A: "1" }, fuel: 2_000_000_000 },
    });
    this.stage.stats.values.clear();
  }

  /** Performs `calls` in `phase`, on a stream of its own. */
  perform(phase: Phase, calls: readonly Call[]): void {
    const { puppet } = this.script;
    for (const name of Object.values(CALLBACK)) puppet.on(name, 0);
    puppet.on(CALLBACK[phase], 0, ...calls);
    if (phase === "tick") {
      const { instance, plugin } = this.stage;
      instance.callWith(plugin.root!, instance.export("proxy_on_tick")!, "proxy_on_tick", []);
      return;
    }
    const perRoute = { id: 3, bytes: Buffer.from("override") };
    const stream = this.stage.stream({ perRoute, descriptors: [Buffer.from("d")] });
    stream.info.dynamicMetadata = new Map([["ns", { none: null }]]);
    stream.requestHead(false);
    if (phase === "body") stream.requestData(bodyOf("a body"), true);
    if (phase === "full body") {
      const body = new BodyBuffer();
      body.append(Buffer.alloc(MAX_GUEST_BODY_BYTES));
      stream.requestData(body, true);
    }
    stream.finish();
  }

  /** What was told about `name` since, in order. */
  told(name: string): string[] {
    const lines = this.stage.log.lines.filter((line) => line.startsWith("1 ") && line.includes(`: ${name} answers `));
    this.stage.log.lines.length = 0;
    return lines.map((line) => line.slice(line.indexOf(`: ${name} answers `) + 2));
  }
}

const ERRNO_NAMES = new Map<number, string>(Object.entries(ERRNO).map(([name, errno]) => [errno, name]));

/** The reason that each refusal must come with. */
function expectedReason(name: string, status: number): RegExp {
  const answer = Object.hasOwn(WASI_CASES, name) ? ERRNO_NAMES.get(status)! : statusName(status);
  return new RegExp(`^${name} answers ${answer}: .{5,}`);
}

function check(name: string, cases: FunctionCases): void {
  const trial = new Trial();
  const { script, stage } = trial;
  const memoryBytes = stage.instance.memory.size;
  const made = casesOf(cases, memoryBytes);
  for (const phase of new Set(made.map((one) => one.phase ?? cases.phase ?? "headers"))) {
    const here = made.filter((one) => (one.phase ?? cases.phase ?? "headers") === phase);
    const calls = here.map((one) => script.call(name, cases.args, one));
    const all = here.flatMap((one, n) => [
      ...(one.before ?? cases.before ?? []).map((row) => script.row(row)),
      calls[n]!,
    ]);
    trial.perform(phase, all);
    assert.equal(stage.plugin.lastFailure, "", `${name}, ${phase}`);
    here.forEach((one, n) => assert.equal(stage.status(calls[n]!), one.status, `${name}, ${phase}: ${one.name}`));
    const refused = here.filter((one) => one.status !== 0);
    const told = trial.told(name);
    assert.equal(told.length, refused.length, `${name}, ${phase}: ${told.join(" | ")}`);
    refused.forEach((one, n) => assert.match(told[n]!, expectedReason(name, one.status), one.name));
  }
  assert.equal(stage.instance.memory.size, memoryBytes, "the edge has moved");
  if (cases.emptyResult !== true && cases.args.some((arg) => arg.kind === "result")) checkAllocator(name, cases, trial);
}

/** The guest has no memory for the result. */
function checkAllocator(name: string, cases: FunctionCases, trial: Trial): void {
  const { script, stage } = trial;
  stage.poke(ALLOCATOR_FAILS, 1);
  const call = script.call(name, cases.args, { name: "", change: {}, status: 0 });
  trial.perform(cases.phase ?? "headers", [...(cases.before ?? []).map((row) => script.row(row)), call]);
  assert.equal(stage.status(call), Status.INVALID_MEMORY_ACCESS, `${name} without memory for the result`);
  assert.match(trial.told(name).join(), /allocator gave no memory/);
}

describe("host functions", () => {
  test("the tables hold every function there is, with as many arguments as it has", () => {
    for (const { module, name, type } of HOST_FUNCTIONS) {
      if (QUIET.has(name)) continue;
      const cases = CASES.get(name);
      assert.ok(cases !== undefined, `${module}.${name} has no cases`);
      const numbers = cases.args.flatMap((arg) => new Script().numbers(arg)).length;
      assert.equal(numbers, type.split(">")[0]!.length, name);
    }
    const known = new Set(HOST_FUNCTIONS.map((one) => one.name));
    for (const name of [...CASES.keys(), ...QUIET.keys()]) assert.ok(known.has(name), `${name} is none`);
  });

  test("limits that other tests show are shown there", () => {
    for (const [name, { limit }] of CASES) {
      if (typeof limit === "string" || Array.isArray(limit)) continue;
      const { file, test: title } = limit as { file: string; test: string };
      assert.ok(hasTest(file, title), `${name}: ${file} has no test "${title}"`);
    }
  });

  for (const [name, cases] of CASES) test(name, () => check(name, cases));

  for (const [name, { ends }] of QUIET) {
    test(`${name}: with nonsense ${ends === null ? "no harm" : "the instance's end"}`, () => {
      const { type } = HOST_FUNCTIONS.find((one) => one.name === name)!;
      for (const nonsense of [-1, OUTSIDE, 3, 0]) {
        const trial = new Trial();
        const args = Array.from(type.split(">")[0]!, (): Arg => ({ kind: "value", value: nonsense }));
        trial.perform("headers", [trial.script.call(name, args, { name: "", change: {}, status: 0 })]);
        assert.equal(trial.stage.stats.values.get(`wasm.puppet.failures.${ends}`), ends === null ? undefined : 1);
        assert.equal(trial.stage.plugin.lastFailure === "", ends === null, trial.stage.plugin.lastFailure);
      }
    });
  }
});

describe("start functions", () => {
  /** What the log, the clock and the language need; everything else is about a plugin, which does not exist yet. */
  const harmless = new Set([
    ...["proxy_log", "proxy_get_log_level", "proxy_get_current_time_nanoseconds", "envoy_resolve_dns"],
    // Code 0 is how a command ends.
    ...[...QUIET.keys()].filter((name) => !["abort", "random"].includes(name)),
    ...Object.keys(WASI_CASES),
  ]);
  const index = CALLBACKS.indexOf("proxy_on_tick");
  const extra = `(func (export "_initialize") (drop (call $run (i32.const ${index}) ${"(i32.const 0)".repeat(3)})))`;

  for (const [name, type] of new Map(HOST_FUNCTIONS.map((one) => [one.name, one.type]))) {
    test(`${name} ${harmless.has(name) ? "may be called" : "fails the VM"}`, () => {
      const puppet = new Puppet({ extra });
      puppet.on("proxy_on_tick", 0, puppet.call(name, ...Array.from(type.split(">")[0]!, () => 0)));
      const start = (): unknown => Stage.started(puppet);
      if (harmless.has(name)) start();
      else assert.throws(start, { code: "GUEST_START", message: /start function: (restricted|abort)/ });
    });
  }
});
