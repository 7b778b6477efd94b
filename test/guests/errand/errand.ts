/** The errand filter on the SDK of this repository (test/languages/errands.ts says what an errand is). */
import { CONTINUE, PAUSE } from "../../../abi/action.ts";
import { Body, callBody, grpcMessage, requestBody, responseBody, vmConfiguration } from "../../../filters/sdk/body.ts";
import { Filter, RootContext, StreamContext } from "../../../filters/sdk/context.ts";
import { register } from "../../../filters/sdk/contexts.ts";
import { grpcCall, GrpcCallback } from "../../../filters/sdk/grpc-call.ts";
import { callHeaders, HeaderMap, requestHeaders, responseHeaders } from "../../../filters/sdk/headers.ts";
import { httpCall, HttpCallback } from "../../../filters/sdk/http-call.ts";
import * as log from "../../../filters/sdk/log.ts";
import { Counter, Gauge, Histogram } from "../../../filters/sdk/metric.ts";
import { Pairs } from "../../../filters/sdk/pairs.ts";
import { Property } from "../../../filters/sdk/property.ts";
import { dequeue, enqueue, getSharedData, registerQueue, setSharedData } from "../../../filters/sdk/shared.ts";
import { continueRequest, sendLocalResponse } from "../../../filters/sdk/stream.ts";
import { setTickPeriod } from "../../../filters/sdk/time.ts";

const TAG = "errand";
const CODE = new Property("response.code");
const PATH = new Property("request.path");
const ROOT_ID = new Property("plugin_root_id");
const PORT = new Property("source.port");
const OWN = new Property("errand.mark", "/");
const NONE = new Property("no.such");

function shared(key: string): string {
  const value = getSharedData(key);
  return value === null ? "none" : String.UTF8.decode(value.bytes);
}

function tell(name: string, value: string): void {
  requestHeaders.replace(name, value);
}

class ErrandRoot extends RootContext {
  configuration: string = "";
  vmConfiguration: string = "";
  queue: u32 = 0;
  counter: Counter | null = null;
  gauge: Gauge | null = null;
  histogram: Histogram | null = null;

  override onVmStart(_size: u32): bool {
    this.vmConfiguration = vmConfiguration.text()!;
    return true;
  }
  override onConfigure(configuration: ArrayBuffer): bool {
    this.configuration = String.UTF8.decode(configuration);
    if (this.configuration == "refuse") return false;
    setTickPeriod(20);
    this.queue = registerQueue(TAG);
    this.counter = new Counter(TAG + ".counter");
    this.gauge = new Gauge(TAG + ".gauge");
    this.histogram = new Histogram(TAG + ".histogram");
    return true;
  }
  override createFilter(): StreamContext {
    return new Errand(this);
  }
  override onTick(): void {
    for (;;) {
      const old = getSharedData(TAG + ".ticks");
      const count = old === null ? 0 : I32.parseInt(String.UTF8.decode(old.bytes));
      const cas = old === null ? 0 : old.cas;
      if (setSharedData(TAG + ".ticks", (count + 1).toString(), cas)) return;
    }
  }
  override onQueueReady(token: u32): void {
    const item = dequeue(token);
    if (item !== null) setSharedData(TAG + ".queued", item);
  }
}

class Errand extends Filter implements HttpCallback, GrpcCallback {
  readonly root: ErrandRoot;
  errand: string = "";
  told: string = "";

  constructor(root: ErrandRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_count: u32, _end: bool): i32 {
    const errand = requestHeaders.get("x-do");
    if (errand === null) return CONTINUE;
    this.errand = errand;
    if (errand == "headers") this.edit(requestHeaders, "x-added", "x-replace", "x-remove");
    else if (errand == "pairs") {
      const all = requestHeaders.pairs();
      requestHeaders.setPairs(all.add("x-pairs", all.length.toString()));
    } else if (errand == "body" || errand == "edges") requestHeaders.remove("content-length");
    else if (errand == "reply") {
      sendLocalResponse(418, TAG + " is a teapot", "errand", new Pairs().add("x-reply", TAG));
      return PAUSE;
    } else if (errand == "call") {
      assert(this.call("side", "/first") != 0);
      return PAUSE;
    } else if (errand == "call-nowhere") {
      if (this.call("nowhere", "/") == 0) tell("x-call", "refused");
    } else if (errand == "grpc" || errand == "grpc-fails") {
      assert(
        grpcCall(
          "side-grpc",
          "errand.Side",
          errand == "grpc" ? "Ask" : "Fail",
          String.UTF8.encode("ask"),
          60000,
          this,
        ) != 0,
      );
      return PAUSE;
    } else if (errand == "ticks") tell("x-ticks", shared(TAG + ".ticks"));
    else if (errand == "queue") enqueue(this.root.queue, requestHeaders.bytes("x-in")!);
    else if (errand == "queued") tell("x-queued", shared(TAG + ".queued"));
    else if (errand == "metrics") this.metrics();
    else if (errand == "properties") this.properties();
    else if (errand == "config") tell("x-config", this.root.configuration + "|" + this.root.vmConfiguration);
    else if (errand == "log") this.levels();
    else if (errand == "trap") unreachable();
    return CONTINUE;
  }

  override onResponseHeaders(_count: u32, _end: bool): i32 {
    if (this.errand == "headers") this.edit(responseHeaders, "x-out", "x-server", "x-secret");
    if (this.errand == "body" || this.errand == "edges") responseHeaders.remove("content-length");
    return CONTINUE;
  }

  override onRequestBody(_size: u32, end: bool): i32 {
    return this.rewrite(requestBody, " got ", end);
  }
  override onResponseBody(_size: u32, end: bool): i32 {
    return this.rewrite(responseBody, " sent ", end);
  }

  onHttpResponse(_token: u32, _headers: u32, _size: u32, _trailers: u32): void {
    this.told += callHeaders.get(":status")! + " " + callBody.text()!;
    if (!this.told.includes("second")) {
      this.told += " ";
      this.call("side", "/second");
      return;
    }
    tell("x-call", this.told);
    continueRequest();
  }
  onGrpcMessage(_token: u32, _size: u32): void {
    tell("x-grpc", grpcMessage.text()!);
    continueRequest();
  }
  onGrpcClose(_token: u32, status: i32): void {
    tell("x-grpc", "status " + status.toString());
    continueRequest();
  }

  override onLog(): void {
    log.info(`${TAG} done ${CODE.integer()} ${this.errand}`);
  }

  private edit(map: HeaderMap, added: string, replaced: string, removed: string): void {
    assert(map.add(added, TAG) && map.replace(replaced, "new") && map.remove(removed));
  }

  private call(cluster: string, path: string): u32 {
    const head = new Pairs().add(":method", "POST").add(":path", path).add(":authority", "side");
    return httpCall(cluster, head, "question", 60000, this);
  }

  private metrics(): void {
    this.root.counter!.increment(5);
    this.root.gauge!.set(7);
    this.root.gauge!.add(-2);
    this.root.histogram!.record(3);
    tell("x-metrics", `${this.root.counter!.value} ${this.root.gauge!.value}`);
  }

  private properties(): void {
    assert(OWN.set(TAG));
    const none = NONE.text();
    tell(
      "x-properties",
      `${PATH.text()!}|${ROOT_ID.text()!}|${PORT.integer()}|${OWN.text()!}|${none === null ? "none" : "some"}`,
    );
  }

  private levels(): void {
    log.trace(TAG + " level 0");
    log.debug(TAG + " level 1");
    log.info(TAG + " level 2");
    log.warn(TAG + " level 3");
    log.error(TAG + " level 4");
    log.critical(TAG + " level 5");
  }

  private rewrite(body: Body, verb: string, end: bool): i32 {
    const whole = this.errand == "body";
    if (!whole && this.errand != "edges") return CONTINUE;
    if (!end) return PAUSE;
    const done = whole ? body.set(TAG + verb + body.text()!) : body.prepend("[") && body.append("]");
    assert(done);
    return CONTINUE;
  }
}

register(() => new ErrandRoot(), "errand");
