/**
 * The errand filter on the SDK of solo.io, as published, by a compiler of its time (test/languages/errands.ts says
 * what an errand is). That SDK cannot write bodies or whole maps, read metrics, take from queues, make gRPC calls or
 * use shared data, and it traps for a property that is not there.
 */
export * from "@solo-io/proxy-runtime/proxy";
import {
  BaseContext,
  Context,
  Counter,
  FilterHeadersStatusValues,
  GrpcStatusValues,
  HeaderPair,
  log,
  LogLevelValues,
  registerRootContext,
  RootContext,
  send_local_response,
  stream_context,
  WasmResultValues,
} from "@solo-io/proxy-runtime";
import { get_property, set_property, set_tick_period_milliseconds } from "@solo-io/proxy-runtime/runtime";

const TAG = "solo";

function pair(key: string, value: string): HeaderPair {
  return new HeaderPair(String.UTF8.encode(key), String.UTF8.encode(value));
}

function tell(name: string, value: string): void {
  stream_context.headers.request.replace(name, value);
}

class ErrandRoot extends RootContext {
  ticks: i32 = 0;

  createContext(contextId: u32): Context {
    return new Errand(contextId, this);
  }
  onConfigure(size: u32): bool {
    super.onConfigure(size);
    if (this.getConfiguration() == "refuse") return false;
    set_tick_period_milliseconds(20);
    new Counter(TAG + ".counter").increment(5);
    return true;
  }
  onTick(): void {
    this.ticks++;
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
    } else if (this.errand == "list") {
      tell("x-list", request.get_headers().length.toString());
    } else if (this.errand == "reply") {
      const body = String.UTF8.encode(TAG + " is a teapot");
      send_local_response(418, "errand", body, [pair("x-reply", TAG)], GrpcStatusValues.Unknown);
      return FilterHeadersStatusValues.StopIteration;
    } else if (this.errand == "call") {
      if (this.call("side", "/first") != WasmResultValues.Ok) throw new Error("no call");
      return FilterHeadersStatusValues.StopIteration;
    } else if (this.errand == "call-nowhere") {
      if (this.call("nowhere", "/") == WasmResultValues.BadArgument) tell("x-call", "refused");
    } else if (this.errand == "ticks") {
      tell("x-ticks", this.root.ticks.toString());
    } else if (this.errand == "properties") {
      set_property("errand.mark", String.UTF8.encode(TAG));
      const port = load<u64>(changetype<usize>(get_property("source\0port")));
      const path = String.UTF8.decode(get_property("request.path"));
      const root = String.UTF8.decode(get_property("plugin_root_id"));
      const own = String.UTF8.decode(get_property("errand.mark"));
      tell("x-properties", path + "|" + root + "|" + port.toString() + "|" + own + "|none");
    } else if (this.errand == "config") {
      tell("x-config", this.root.getConfiguration() + "|vm text");
    } else if (this.errand == "log") {
      for (let level = 0; level < 6; level++) log(level as LogLevelValues, TAG + " level " + level.toString());
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
    const answer = stream_context.headers.http_callback;
    // The SDK keeps the function that reads the answer's body to itself; its size tells enough.
    this.told += answer.get(":status") + " " + (this.told == "" ? "/first" : "/second") + ":question";
    if (<i32>size != (this.told.includes("second") ? 16 : 15)) throw new Error("not the answer: " + size.toString());
    if (!this.told.includes("second")) {
      this.told += " ";
      this.call("side", "/second");
      return;
    }
    tell("x-call", this.told);
    this.continueRequest();
  }

  onLog(): void {
    const code = load<u64>(changetype<usize>(get_property("response.code")));
    log(LogLevelValues.info, TAG + " done " + code.toString() + " " + this.errand);
  }
}

registerRootContext((contextId: u32) => new ErrandRoot(contextId), "errand");
