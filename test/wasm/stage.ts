/** Where a puppet performs: a worker's environment, one plugin, and streams that record what is done to them. */
import * as LogLevel from "../../abi/log-level.ts";
import { BodyBuffer } from "../../runtime/codec/body.ts";
import { HeaderMap } from "../../runtime/codec/headers.ts";
import type { NodeConfig, PluginConfig, RuntimeValue } from "../../runtime/config/snapshot.ts";
import type { HttpFilter, HttpFilterFactory, LocalReply, StreamView } from "../../runtime/http/filter.ts";
import { GUEST_FUEL } from "../../runtime/limits.ts";
import type { Log } from "../../runtime/observe/log.ts";
import type { Counter, Gauge, Histogram, Stats } from "../../runtime/observe/stats.ts";
import { StreamInfo } from "../../runtime/observe/stream-info.ts";
import type { ConnectionInfo } from "../../runtime/observe/stream-info.ts";
import type { Upstreams } from "../../runtime/upstream/request.ts";
import type { WasmEnvironment } from "../../runtime/wasm/environment.ts";
import type { Instance } from "../../runtime/wasm/instance/instance.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { Plugin } from "../../runtime/wasm/plugin.ts";
import { PluginFilterFactory } from "../../runtime/wasm/plugin-factory.ts";
import { PluginNetworkFactory } from "../../runtime/wasm/plugin-network.ts";
import { SharedStore } from "../../runtime/wasm/shared.ts";
import { Vm } from "../../runtime/wasm/vm.ts";
import { connectionSample } from "../observe/stream-sample.ts";
import { MemoryConnection } from "../../runtime/testkit/memory-connection.ts";
import { readTrace } from "./puppet.ts";
import type { Call, Puppet, Seen } from "./puppet.ts";

export class RecordingLog implements Log {
  readonly lines: string[] = [];
  level: number = LogLevel.TRACE;
  #add(level: string, message: string): void {
    this.lines.push(`${level} ${message}`);
  }
  trace(message: string): void {
    this.#add("trace", message);
  }
  debug(message: string): void {
    this.#add("debug", message);
  }
  info(message: string): void {
    this.#add("info", message);
  }
  warning(message: string): void {
    this.#add("warning", message);
  }
  error(message: string): void {
    this.#add("error", message);
  }
  critical(message: string): void {
    this.#add("critical", message);
  }
  guest(level: number, message: string): void {
    this.#add(String(level), message);
  }
  enabled(level: number): boolean {
    return level >= this.level;
  }
}

export class RecordingStats implements Stats {
  readonly values = new Map<string, number>();
  #add(name: string, n: number): void {
    this.values.set(name, (this.values.get(name) ?? 0) + n);
  }
  counter(name: string): Counter {
    const values = this.values;
    return {
      inc: () => this.#add(name, 1),
      add: (n) => this.#add(name, n),
      get value() {
        return values.get(name) ?? 0;
      },
    };
  }
  gauge(name: string): Gauge {
    const counter = this.counter(name);
    return {
      inc: () => counter.inc(),
      dec: () => counter.add(-1),
      add: (n) => counter.add(n),
      set: (n) => this.values.set(name, n),
      get value() {
        return counter.value;
      },
    };
  }
  histogram(name: string): Histogram {
    return { record: () => this.#add(name, 1) };
  }
}

const NODE: NodeConfig = {
  id: "node-1",
  cluster: "front",
  zone: "z1",
  region: "r1",
  subZone: "s1",
  metadata: { tier: "edge", weights: [1, 2] },
  serialized: Buffer.from("0a066e6f64652d31", "hex"),
};

export interface StageOptions {
  readonly config?: Partial<PluginConfig>;
  readonly upstreams?: Upstreams;
  readonly shared?: SharedStore;
  readonly runtime?: Readonly<Record<string, RuntimeValue>>;
}

export function pluginConfig(config: Partial<PluginConfig> = {}): PluginConfig {
  return {
    name: "puppet",
    rootId: "root",
    vmId: "",
    code: { kind: "inline", bytes: new Uint8Array() },
    configuration: Buffer.from("plugin configuration"),
    vmConfiguration: Buffer.from("vm configuration"),
    environment: {},
    allowedCapabilities: undefined,
    failurePolicy: "FAIL_CLOSED",
    reloadIntervalMs: 1000,
    isolation: undefined,
    fuel: GUEST_FUEL,
    memoryBytes: 64 * 1024 * 1024,
    maxInstances: 256,
    allowOnHeadersStopIteration: false,
    bundled: false,
    statPrefix: "",
    filterName: "puppet.filter",
    direction: 1,
    ...config,
  };
}

let sharedByDefault: SharedStore | undefined;

export function environmentFor(options: StageOptions, log: Log, stats: Stats): WasmEnvironment {
  return {
    upstreams: options.upstreams ?? { get: () => undefined },
    stats,
    log,
    shared: options.shared ?? (sharedByDefault ??= SharedStore.create()),
    node: NODE,
    runtime: options.runtime ?? {},
    workerIndex: 0,
  };
}

export class Stage {
  readonly puppet: Puppet;
  readonly log = new RecordingLog();
  readonly stats = new RecordingStats();
  readonly vm: Vm;
  readonly plugin: Plugin;
  readonly factory: PluginFilterFactory;
  readonly networkFactory: PluginNetworkFactory;

  /** Loads the puppet; `start` runs it. */
  constructor(puppet: Puppet, options: StageOptions = {}) {
    this.puppet = puppet;
    const config = pluginConfig(options.config);
    const module = loadModule(puppet.bytes(), "puppet");
    this.vm = new Vm(config, module, environmentFor(options, this.log, this.stats));
    this.plugin = new Plugin(config, this.vm, this.stats);
    this.vm.plugins.push(this.plugin);
    this.factory = new PluginFilterFactory(this.plugin, module.phases);
    this.networkFactory = new PluginNetworkFactory(this.factory);
  }

  static started(puppet: Puppet, options: StageOptions = {}): Stage {
    const stage = new Stage(puppet, options);
    stage.vm.start();
    puppet.live = stage.instance.memory;
    return stage;
  }

  get instance(): Instance {
    return this.plugin.root!.instance;
  }
  /** Callbacks of the live instance so far. */
  get trace(): Seen[] {
    return readTrace(this.bytes(0, 65_536));
  }
  get names(): string[] {
    return this.trace.map((one) => one.name);
  }

  bytes(at: number, size: number, instance = this.instance): Buffer {
    if (!instance.memory.has(at, size)) throw new Error("outside of guest memory");
    return Buffer.from(instance.memory.bytes.subarray(at, at + size));
  }
  u32(at: number): number {
    return this.bytes(at, 4).readUInt32LE();
  }
  u64(at: number): bigint {
    return this.bytes(at, 8).readBigUInt64LE();
  }
  poke(at: number, value: number): void {
    this.instance.memory.putU32(at, value);
  }
  /** What the host answered to `call`; -1 when it was not made. */
  status(call: Call): number {
    return this.bytes(call.at + 4, 4).readInt32LE();
  }
  /** What the host gave through a pointer and a size cell. */
  given(pointerAt: number, sizeAt: number): Buffer {
    return this.bytes(this.u32(pointerAt), this.u32(sizeAt));
  }

  stream(options: FakeStreamOptions = {}): FakeStream {
    return new FakeStream(this.factory, options);
  }
  /** A connection that the plugin has heard of as a network filter. */
  connection(): MemoryConnection {
    return new MemoryConnection(this.networkFactory, { ...CONNECTION, closers: [] }).open();
  }
}

const CONNECTION = connectionSample("127.0.0.1:5555", "127.0.0.1:10000");

export interface FakeStreamOptions {
  readonly connection?: ConnectionInfo;
  readonly request?: string[];
  readonly perRoute?: { readonly id: number; readonly bytes: Uint8Array };
  readonly descriptors?: readonly Uint8Array[];
}

/** A stream with one filter, which records what the filter does to it. */
export class FakeStream implements StreamView {
  readonly info: StreamInfo;
  requestHeaders: HeaderMap | null;
  requestTrailers: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  responseTrailers: HeaderMap | null = null;
  bufferedRequestBody: BodyBuffer | null = null;
  bufferedResponseBody: BodyBuffer | null = null;
  responseStarted = false;
  readonly events: string[] = [];
  readonly replies: LocalReply[] = [];
  routeClears = 0;
  trailersAdded = 0;
  readonly filter: HttpFilter;
  readonly #options: FakeStreamOptions;

  constructor(factory: Pick<HttpFilterFactory, "create">, options: FakeStreamOptions) {
    this.#options = options;
    this.info = new StreamInfo(options.connection ?? CONNECTION, 1_700_000_000_123, 1000);
    this.requestHeaders = new HeaderMap(
      options.request ?? [":method", "GET", ":path", "/a?b=c", ":authority", "host", ":scheme", "http", "x-a", "1"],
    );
    this.info.requestHeaders = this.requestHeaders;
    this.info.remoteAddress = "10.1.2.3:4444";
    this.info.remoteIp = "10.1.2.3";
    this.filter = factory.create(this);
  }

  requestHead(endStream = true): number {
    return this.filter.onRequestHeaders(this.requestHeaders!, endStream);
  }
  requestData(body: BodyBuffer, endStream: boolean): number {
    return this.filter.onRequestData(body, endStream);
  }
  responseHead(list = [":status", "200", "x-r", "1"], endStream = true): number {
    this.responseHeaders = this.info.responseHeaders = new HeaderMap(list);
    return this.filter.onResponseHeaders(this.responseHeaders, endStream);
  }
  /** As the engine ends every stream. */
  finish(): void {
    this.filter.onLog();
    this.filter.onDestroy();
  }

  continueRequest(): void {
    this.events.push("continueRequest");
  }
  continueResponse(): void {
    this.events.push("continueResponse");
  }
  addRequestTrailers(): HeaderMap {
    this.trailersAdded++;
    return (this.requestTrailers ??= new HeaderMap());
  }
  addResponseTrailers(): HeaderMap {
    this.trailersAdded++;
    return (this.responseTrailers ??= new HeaderMap());
  }
  sendLocalReply(reply: LocalReply): boolean {
    if (this.replies.length > 0) return false;
    this.replies.push(reply);
    this.events.push(`reply ${reply.status}`);
    return true;
  }
  resetStream(details: string): void {
    this.events.push(`reset ${details}`);
  }
  clearRouteCache(): void {
    this.routeClears++;
  }
  resolveRoute(): void {
    this.events.push("resolveRoute");
  }
  perRouteConfigId(): number {
    return this.#options.perRoute?.id ?? 0;
  }
  perRouteConfig(id: number): Uint8Array | undefined {
    return this.#options.perRoute?.id === id ? this.#options.perRoute.bytes : undefined;
  }
  rateLimitDescriptors(): readonly Uint8Array[] {
    return this.#options.descriptors ?? [];
  }
  joinResponse(): void {
    this.events.push("join response");
  }
  skipResponse(): void {
    this.events.push("skip response");
  }
  paceResponse(bytesPerSecond: number): void {
    this.events.push(`pace ${bytesPerSecond}`);
  }
}

/** A body holding `text`. */
export function bodyOf(text: string): BodyBuffer {
  const body = new BodyBuffer();
  body.append(Buffer.from(text));
  return body;
}
