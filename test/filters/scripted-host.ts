/**
 * A small host for tests of the SDK: it answers from plain maps that a test fills, keeps what the guest says,
 * and counts. It knows nothing of HTTP; the real host has its own tests.
 */
import { readFileSync } from "node:fs";

const NOT_FOUND = 1;
const BAD_ARGUMENT = 2;
const EMPTY = 7;
const CAS_MISMATCH = 8;

type Pair = [name: string, value: string];
type Exports = Record<string, (...args: number[]) => number> & { memory: { buffer: ArrayBuffer } };

export interface LocalResponse {
  status: number;
  details: string;
  body: string;
  headers: Pair[];
  grpcStatus: number;
}

export class ScriptedHost {
  readonly exports: Exports;
  readonly logs: { level: number; text: string }[] = [];
  readonly maps = new Map<number, Pair[]>();
  readonly buffers = new Map<number, Buffer>();
  readonly properties = new Map<string, Buffer>();
  readonly shared = new Map<string, { value: Buffer; cas: number }>();
  readonly queues: { name: string; items: Buffer[] }[] = [];
  readonly metrics: { kind: number; name: string; value: bigint }[] = [];
  readonly httpCalls: { upstream: string; headers: Pair[]; body: Buffer; trailers: Pair[]; timeoutMs: number }[] = [];
  readonly grpcCalls: { upstream: string; service: string; method: string; message: Buffer; timeoutMs: number }[] = [];
  readonly foreign = new Map<string, (args: Buffer) => Buffer | undefined>();
  readonly effective: number[] = [];
  readonly unknownContexts = new Set<number>();
  readonly buckets: { key: string; max: number; perFill: number; intervalMs: number; tokens: number }[] = [];
  readonly routeConfigurations = new Map<number, Buffer>();
  readonly flags: number[] = [];
  readonly fractions: { key: string; numerator: number; denominator: number }[] = [];
  readonly continued: number[] = [];
  readonly closed: number[] = [];
  /** Serialized Structs that replaced a namespace. */
  readonly metadata: { namespace: string; fields: Buffer }[] = [];
  /** Tokens of gRPC calls. */
  readonly cancelled: number[] = [];
  routeConfigurationId = 0;
  descriptors: Buffer[] = [];
  logLevel = 2;
  timerMs = -1;
  tickMs = -1;
  localResponse: LocalResponse | undefined;
  hostCalls = 0;
  /** Memory asked of the guest by exact size. */
  readonly allocations: number[] = [];
  private view: Buffer = Buffer.alloc(0);

  constructor(wasm: string | Uint8Array) {
    const bytes = typeof wasm === "string" ? readFileSync(wasm) : wasm;
    const module = new WebAssembly.Module(new Uint8Array(bytes));
    const families: Record<string, Record<string, (...args: never[]) => number>> = {
      env: { ...this.general(), ...this.headers(), ...this.data(), ...this.calls() },
      sluice: this.extensions(),
      wasi_snapshot_preview1: { random_get: (at: number, size: number) => (this.memory().fill(7, at, at + size), 0) },
    };
    const imports: Record<string, Record<string, unknown>> = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      const call = families[from]?.[name];
      if (call === undefined) throw new Error(`unknown import ${from}.${name}`);
      (imports[from] ??= {})[name] = (...args: never[]): number => {
        this.hostCalls++;
        return call(...args);
      };
    }
    this.exports = new WebAssembly.Instance(module, imports as WebAssembly.Imports).exports as unknown as Exports;
    this.exports["_initialize"]!();
  }

  /** Root context 1, started and configured. */
  start(configuration: Uint8Array = Buffer.alloc(0)): boolean {
    this.exports["proxy_on_context_create"]!(1, 0);
    if (this.exports["proxy_on_vm_start"]!(1, 0) === 0) return false;
    this.buffers.set(7, Buffer.from(configuration));
    return this.exports["proxy_on_configure"]!(1, configuration.length) !== 0;
  }

  header(map: number, name: string): string | undefined {
    return this.maps.get(map)?.find((pair) => pair[0] === name)?.[1];
  }

  metric(name: string): bigint | undefined {
    return this.metrics.find((metric) => metric.name === name)?.value;
  }

  private memory(): Buffer {
    const buffer = this.exports.memory.buffer;
    if (this.view.buffer !== buffer) this.view = Buffer.from(buffer);
    return this.view;
  }
  private bytes(at: number, size: number): Buffer {
    return Buffer.from(this.memory().subarray(at >>> 0, (at >>> 0) + (size >>> 0)));
  }
  private text(at: number, size: number): string {
    return this.bytes(at, size).toString("latin1");
  }
  private write32(at: number, value: number): number {
    this.memory().writeUInt32LE(value >>> 0, at);
    return 0;
  }
  private give(value: Uint8Array, pp: number, sp: number): number {
    let address = 0;
    if (value.length > 0) {
      this.allocations.push(value.length);
      address = this.exports["proxy_on_memory_allocate"]!(value.length);
      if (address === 0) return 6;
      this.memory().set(value, address);
    }
    this.write32(pp, address);
    return this.write32(sp, value.length);
  }

  private general(): Record<string, (...args: never[]) => number> {
    return {
      proxy_log: (level: number, at: number, size: number) => {
        this.logs.push({ level, text: this.bytes(at, size).toString("utf8") });
        return 0;
      },
      proxy_get_log_level: (at: number) => this.write32(at, this.logLevel),
      proxy_get_current_time_nanoseconds: (at: number) => (this.memory().writeBigUInt64LE(5_000_000_000n, at), 0),
      proxy_set_tick_period_milliseconds: (ms: number) => ((this.tickMs = ms), 0),
      proxy_set_effective_context: (id: number) => {
        if (this.unknownContexts.has(id)) return BAD_ARGUMENT;
        this.effective.push(id);
        return 0;
      },
      proxy_get_status: (codeP: number, pp: number, sp: number) => {
        this.write32(codeP, 14);
        return this.give(Buffer.from("unreachable"), pp, sp);
      },
      proxy_get_property: (path: number, size: number, pp: number, sp: number) => {
        const value = this.properties.get(this.text(path, size).replaceAll("\0", "."));
        return value === undefined ? NOT_FOUND : this.give(value, pp, sp);
      },
      proxy_set_property: (path: number, size: number, at: number, valueSize: number) => {
        this.properties.set(this.text(path, size).replaceAll("\0", "."), this.bytes(at, valueSize));
        return 0;
      },
      proxy_continue_stream: (stream: number) => (this.continued.push(stream), 0),
      proxy_close_stream: (stream: number) => (this.closed.push(stream), 0),
      proxy_send_local_response: (
        status: number,
        detailsAt: number,
        detailsSize: number,
        bodyAt: number,
        bodySize: number,
        headersAt: number,
        headersSize: number,
        grpcStatus: number,
      ) => {
        const details = this.text(detailsAt, detailsSize);
        const headers = decodePairs(this.bytes(headersAt, headersSize));
        const body = this.bytes(bodyAt, bodySize).toString("utf8");
        this.localResponse = { status, details, body, headers, grpcStatus };
        return 0;
      },
      proxy_call_foreign_function: (
        name: number,
        nameSize: number,
        args: number,
        argsSize: number,
        pp: number,
        sp: number,
      ) => {
        const result = this.foreign.get(this.text(name, nameSize))?.(this.bytes(args, argsSize));
        return result === undefined ? NOT_FOUND : this.give(result, pp, sp);
      },
    };
  }

  private headers(): Record<string, (...args: never[]) => number> {
    const without = (map: number, name: string): Pair[] =>
      (this.maps.get(map) ?? []).filter((pair) => pair[0] !== name);
    return {
      proxy_get_header_map_value: (map: number, at: number, size: number, pp: number, sp: number) => {
        const value = this.header(map, this.text(at, size));
        return value === undefined ? NOT_FOUND : this.give(Buffer.from(value, "latin1"), pp, sp);
      },
      proxy_add_header_map_value: (map: number, at: number, size: number, valueAt: number, valueSize: number) => {
        this.maps.get(map)?.push([this.text(at, size), this.text(valueAt, valueSize)]);
        return this.maps.has(map) ? 0 : BAD_ARGUMENT;
      },
      proxy_replace_header_map_value: (map: number, at: number, size: number, valueAt: number, valueSize: number) => {
        if (!this.maps.has(map)) return BAD_ARGUMENT;
        const name = this.text(at, size);
        this.maps.set(map, [...without(map, name), [name, this.text(valueAt, valueSize)]]);
        return 0;
      },
      proxy_remove_header_map_value: (map: number, at: number, size: number) => {
        if (!this.maps.has(map)) return BAD_ARGUMENT;
        this.maps.set(map, without(map, this.text(at, size)));
        return 0;
      },
      proxy_get_header_map_pairs: (map: number, pp: number, sp: number) =>
        this.give(encodePairs(this.maps.get(map) ?? []), pp, sp),
      proxy_set_header_map_pairs: (map: number, at: number, size: number) => {
        this.maps.set(map, decodePairs(this.bytes(at, size)));
        return 0;
      },
    };
  }

  private data(): Record<string, (...args: never[]) => number> {
    return {
      proxy_get_buffer_bytes: (buffer: number, start: number, max: number, pp: number, sp: number) => {
        const bytes = this.buffers.get(buffer);
        if (bytes === undefined) return NOT_FOUND;
        return this.give(bytes.subarray(start >>> 0, (start >>> 0) + (max >>> 0)), pp, sp);
      },
      proxy_get_buffer_status: (buffer: number, lengthP: number, flagsP: number) => {
        const bytes = this.buffers.get(buffer);
        if (bytes === undefined) return NOT_FOUND;
        this.write32(flagsP, 0);
        return this.write32(lengthP, bytes.length);
      },
      proxy_set_buffer_bytes: (buffer: number, start: number, length: number, at: number, size: number) => {
        const bytes = this.buffers.get(buffer);
        if (bytes === undefined) return NOT_FOUND;
        const from = Math.min(start >>> 0, bytes.length);
        const rest = bytes.subarray(Math.min(from + (length >>> 0), bytes.length));
        this.buffers.set(buffer, Buffer.concat([bytes.subarray(0, from), this.bytes(at, size), rest]));
        return 0;
      },
      proxy_get_shared_data: (at: number, size: number, pp: number, sp: number, casP: number) => {
        const entry = this.shared.get(this.text(at, size));
        if (entry === undefined) return NOT_FOUND;
        this.write32(casP, entry.cas);
        return this.give(entry.value, pp, sp);
      },
      proxy_set_shared_data: (at: number, size: number, valueAt: number, valueSize: number, cas: number) => {
        const key = this.text(at, size);
        const entry = this.shared.get(key);
        if (entry !== undefined && cas !== 0 && cas !== entry.cas) return CAS_MISMATCH;
        this.shared.set(key, { value: this.bytes(valueAt, valueSize), cas: (entry?.cas ?? 0) + 1 });
        return 0;
      },
      proxy_register_shared_queue: (at: number, size: number, tokenP: number) =>
        this.write32(tokenP, this.queues.push({ name: this.text(at, size), items: [] })),
      proxy_resolve_shared_queue: (_vm: number, _vmSize: number, at: number, size: number, tokenP: number) => {
        const index = this.queues.findIndex((queue) => queue.name === this.text(at, size));
        return index < 0 ? NOT_FOUND : this.write32(tokenP, index + 1);
      },
      proxy_enqueue_shared_queue: (token: number, at: number, size: number) => {
        this.queues[token - 1]?.items.push(this.bytes(at, size));
        return this.queues[token - 1] === undefined ? NOT_FOUND : 0;
      },
      proxy_dequeue_shared_queue: (token: number, pp: number, sp: number) => {
        const item = this.queues[token - 1]?.items.shift();
        return item === undefined ? EMPTY : this.give(item, pp, sp);
      },
      proxy_define_metric: (kind: number, at: number, size: number, idP: number) =>
        this.write32(idP, this.metrics.push({ kind, name: this.text(at, size), value: 0n })),
      proxy_increment_metric: (id: number, by: bigint) => ((this.metrics[id - 1]!.value += by), 0),
      proxy_record_metric: (id: number, value: bigint) => ((this.metrics[id - 1]!.value = value), 0),
      proxy_get_metric: (id: number, at: number) => (this.memory().writeBigInt64LE(this.metrics[id - 1]!.value, at), 0),
    };
  }

  private calls(): Record<string, (...args: never[]) => number> {
    return {
      proxy_http_call: (...args: number[]) => {
        const [
          upstream,
          upstreamSize,
          headers,
          headersSize,
          body,
          bodySize,
          trailers,
          trailersSize,
          timeoutMs,
          tokenP,
        ] = args as [number, number, number, number, number, number, number, number, number, number];
        this.httpCalls.push({
          upstream: this.text(upstream, upstreamSize),
          headers: decodePairs(this.bytes(headers, headersSize)),
          body: this.bytes(body, bodySize),
          trailers: decodePairs(this.bytes(trailers, trailersSize)),
          timeoutMs,
        });
        return this.write32(tokenP, 100 + this.httpCalls.length);
      },
      proxy_grpc_call: (...args: number[]) => {
        const [
          upstream,
          upstreamSize,
          service,
          serviceSize,
          method,
          methodSize,
          ,
          ,
          message,
          messageSize,
          timeoutMs,
          tokenP,
        ] = args as [number, number, number, number, number, number, number, number, number, number, number, number];
        this.grpcCalls.push({
          upstream: this.text(upstream, upstreamSize),
          service: this.text(service, serviceSize),
          method: this.text(method, methodSize),
          message: this.bytes(message, messageSize),
          timeoutMs,
        });
        return this.write32(tokenP, 200 + this.grpcCalls.length);
      },
      proxy_grpc_cancel: (token: number) => (this.cancelled.push(token), 0),
    };
  }

  private extensions(): Record<string, (...args: never[]) => number> {
    return {
      set_timer: (ms: number) => ((this.timerMs = ms), 0),
      get_route_configuration_id: (idP: number) => this.write32(idP, this.routeConfigurationId),
      get_route_configuration: (id: number, pp: number, sp: number) => {
        const bytes = this.routeConfigurations.get(id);
        return bytes === undefined ? NOT_FOUND : this.give(bytes, pp, sp);
      },
      get_rate_limit_descriptors: (_stage: number, _mode: number, pp: number, sp: number) => {
        const parts = this.descriptors.flatMap((bytes) => [uint32(bytes.length), bytes]);
        return this.give(Buffer.concat([uint32(this.descriptors.length), ...parts]), pp, sp);
      },
      replace_dynamic_metadata: (name: number, nameSize: number, at: number, size: number) => {
        this.metadata.push({ namespace: this.text(name, nameSize), fields: this.bytes(at, size) });
        return 0;
      },
      set_response_flag: (flag: number) => (this.flags.push(flag), 0),
      define_token_bucket: (
        at: number,
        size: number,
        max: number,
        perFill: number,
        intervalMs: number,
        idP: number,
      ) => {
        const key = this.text(at, size);
        const known = this.buckets.findIndex((bucket) => bucket.key === key);
        if (known >= 0) return this.write32(idP, known + 1);
        return this.write32(idP, this.buckets.push({ key, max, perFill, intervalMs, tokens: max }));
      },
      take_tokens: (id: number, count: number, remainingP: number, resetP: number) => {
        const bucket = this.buckets[id - 1];
        if (bucket === undefined) return BAD_ARGUMENT;
        const enough = bucket.tokens >= count;
        if (enough) bucket.tokens -= count;
        this.write32(remainingP, bucket.tokens);
        this.write32(resetP, 2500);
        return enough ? 0 : EMPTY;
      },
      runtime_fraction: (at: number, size: number, numerator: number, denominator: number) => {
        this.fractions.push({ key: this.text(at, size), numerator, denominator });
        return numerator >= denominator ? 0 : EMPTY;
      },
      random: () => 4,
    };
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function encodePairs(pairs: readonly Pair[]): Buffer {
  const raw = pairs.flatMap(([name, value]) => [Buffer.from(name, "latin1"), Buffer.from(value, "latin1")]);
  return Buffer.concat([
    uint32(pairs.length),
    ...raw.map((bytes) => uint32(bytes.length)),
    ...raw.map((bytes) => Buffer.concat([bytes, Buffer.of(0)])),
  ]);
}

export function decodePairs(bytes: Buffer): Pair[] {
  if (bytes.length < 4) return [];
  const count = bytes.readUInt32LE(0);
  const pairs: Pair[] = [];
  let at = 4 + count * 8;
  for (let i = 0; i < count; i++) {
    const nameSize = bytes.readUInt32LE(4 + i * 8);
    const valueSize = bytes.readUInt32LE(8 + i * 8);
    const name = bytes.toString("latin1", at, at + nameSize);
    const value = bytes.toString("latin1", at + nameSize + 1, at + nameSize + 1 + valueSize);
    pairs.push([name, value]);
    at += nameSize + valueSize + 2;
  }
  return pairs;
}
