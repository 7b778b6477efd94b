/**
 * The errand filter on the SDK of G-Core (which is Kong's, which is solo.io's), as published, by today's compiler with
 * its shim for WASI (test/languages/errands.ts says what an errand is). That SDK cannot read metrics or make gRPC
 * calls, and it logs to standard output only.
 */
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  BaseContext,
  BufferTypeValues,
  Context,
  Counter,
  dequeue_shared_queue,
  enqueue_shared_queue,
  FilterDataStatusValues,
  FilterHeadersStatusValues,
  get_buffer_bytes,
  get_property,
  get_shared_data,
  HeaderPair,
  log,
  LogLevelValues,
  makeHeaderPair as pair,
  register_shared_queue,
  registerRootContext,
  RootContext,
  send_http_response,
  set_buffer_bytes,
  set_property,
  set_shared_data,
  set_tick_period_milliseconds,
  stream_context,
  WasmResultValues,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

const TAG = "gcore";

function tell(name: string, value: string): void {
  stream_context.headers.request.replace(name, value);
}

function tellShared(key: string, name: string): void {
  const value = get_shared_data(key).value;
  tell(name, value === null ? "none" : String.UTF8.decode(value));
}

class ErrandRoot extends RootContext {
  queue: u32 = 0;
  vmConfiguration: string = "";

  createContext(contextId: u32): Context {
    return new Errand(contextId, this);
  }
  onStart(size: usize): bool {
    this.vmConfiguration = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.VmConfiguration, 0, <u32>size));
    return true;
  }
  onConfigure(size: u32): bool {
    super.onConfigure(size);
    if (this.getConfiguration() == "refuse") return false;
    set_tick_period_milliseconds(20);
    this.queue = register_shared_queue(TAG).token;
    new Counter(TAG + ".counter").increment(5);
    return true;
  }
  onTick(): void {
    for (;;) {
      const old = get_shared_data(TAG + ".ticks");
      const bytes = old.value;
      const count = bytes === null ? 0 : I32.parseInt(String.UTF8.decode(bytes));
      if (set_shared_data(TAG + ".ticks", String.UTF8.encode((count + 1).toString()), old.cas) == WasmResultValues.Ok)
        return;
    }
  }
  onQueueReady(token: u32): void {
    const data = dequeue_shared_queue(token).data;
    if (data !== null) set_shared_data(TAG + ".queued", data);
  }
}

class Errand extends Context {
  errand: string = "";
  told: string = "";

  constructor(contextId: u32, root: ErrandRoot) {
    super(contextId, root);
  }

  private get root(): ErrandRoot {
    return this.root_context as ErrandRoot;
  }

  onRequestHeaders(_count: u32, _end: bool): FilterHeadersStatusValues {
    const request = stream_context.headers.request;
    this.errand = request.get("x-do");
    if (this.errand == "headers") {
      request.add("x-added", TAG);
      request.replace("x-replace", "new");
      request.remove("x-remove");
    } else if (this.errand == "pairs") {
      const all = request.get_headers();
      all.push(pair("x-pairs", all.length.toString()));
      request.set_headers(all);
    } else if (this.errand == "body" || this.errand == "edges") {
      request.remove("content-length");
    } else if (this.errand == "reply") {
      const body = String.UTF8.encode(TAG + " is a teapot");
      send_http_response(418, "errand", body, [pair("x-reply", TAG)]);
      return FilterHeadersStatusValues.StopIteration;
    } else if (this.errand == "call") {
      if (this.call("side", "/first") != WasmResultValues.Ok) throw new Error("no call");
      return FilterHeadersStatusValues.StopIteration;
    } else if (this.errand == "call-nowhere") {
      if (this.call("nowhere", "/") == WasmResultValues.BadArgument) tell("x-call", "refused");
    } else if (this.errand == "ticks") {
      tellShared(TAG + ".ticks", "x-ticks");
    } else if (this.errand == "queue") {
      enqueue_shared_queue(this.root.queue, String.UTF8.encode(request.get("x-in")));
    } else if (this.errand == "queued") {
      tellShared(TAG + ".queued", "x-queued");
    } else if (this.errand == "properties") {
      set_property("errand.mark", String.UTF8.encode(TAG));
      const port = load<u64>(changetype<usize>(get_property("source\0port")));
      const none = get_property("no.such").byteLength == 0 ? "none" : "some";
      const path = String.UTF8.decode(get_property("request.path"));
      const root = String.UTF8.decode(get_property("plugin_root_id"));
      tell("x-properties", `${path}|${root}|${port}|${String.UTF8.decode(get_property("errand.mark"))}|${none}`);
    } else if (this.errand == "config") {
      tell("x-config", this.root.getConfiguration() + "|" + this.root.vmConfiguration);
    } else if (this.errand == "log") {
      for (let level = 0; level < 6; level++) log(level as LogLevelValues, `${TAG} level ${level}`);
    } else if (this.errand == "trap") {
      throw new Error("asked to");
    }
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(_count: u32, _end: bool): FilterHeadersStatusValues {
    if (this.errand == "headers") {
      stream_context.headers.response.add("x-out", TAG);
      stream_context.headers.response.replace("x-server", "new");
      stream_context.headers.response.remove("x-secret");
    }
    if (this.errand == "body" || this.errand == "edges") stream_context.headers.response.remove("content-length");
    return FilterHeadersStatusValues.Continue;
  }

  call(cluster: string, path: string): WasmResultValues {
    const head = [pair(":method", "POST"), pair(":path", path), pair(":authority", "side")];
    return this.root_context.httpCall(
      cluster,
      head,
      String.UTF8.encode("question"),
      [],
      60000,
      this,
      (origin: BaseContext, _headers: u32, size: usize, _trailers: u32): void => {
        (origin as Errand).answered(size as u32);
      },
    );
  }

  answered(size: u32): void {
    const body = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpCallResponseBody, 0, size));
    this.told += stream_context.headers.http_callback.get(":status") + " " + body;
    if (!this.told.includes("second")) {
      this.told += " ";
      this.call("side", "/second");
      return;
    }
    tell("x-call", this.told);
    this.continueRequest();
  }

  onRequestBody(size: usize, end: bool): FilterDataStatusValues {
    return this.rewrite(BufferTypeValues.HttpRequestBody, " got ", <u32>size, end);
  }
  onResponseBody(size: usize, end: bool): FilterDataStatusValues {
    return this.rewrite(BufferTypeValues.HttpResponseBody, " sent ", <u32>size, end);
  }
  private rewrite(type: BufferTypeValues, verb: string, size: u32, end: bool): FilterDataStatusValues {
    const whole = this.errand == "body";
    if (!whole && this.errand != "edges") return FilterDataStatusValues.Continue;
    if (!end) return FilterDataStatusValues.StopIterationAndBuffer;
    if (whole) {
      const body = String.UTF8.decode(get_buffer_bytes(type, 0, size));
      set_buffer_bytes(type, 0, size, String.UTF8.encode(TAG + verb + body));
    } else {
      set_buffer_bytes(type, 0, 0, String.UTF8.encode("["));
      set_buffer_bytes(type, 0x7fffffff, 0, String.UTF8.encode("]"));
    }
    return FilterDataStatusValues.Continue;
  }

  onLog(): void {
    const code = load<u64>(changetype<usize>(get_property("response.code")));
    log(LogLevelValues.info, `${TAG} done ${code} ${this.errand}`);
  }
}

registerRootContext((contextId: u32) => new ErrandRoot(contextId), "errand");
