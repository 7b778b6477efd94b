/** Does what the request header `x-do` names with the SDK, and logs what came of it. */
import * as Action from "../../../abi/action.ts";
import * as LogLevel from "../../../abi/log-level.ts";
import { callBody, grpcMessage, requestBody, responseBody } from "../../../filters/sdk/body.ts";
import { Filter, RootContext, StreamContext } from "../../../filters/sdk/context.ts";
import { register } from "../../../filters/sdk/contexts.ts";
import * as extensions from "../../../filters/sdk/extensions.ts";
import { callForeignFunction } from "../../../filters/sdk/foreign.ts";
import { callHeaders, requestHeaders, requestTrailers, responseHeaders } from "../../../filters/sdk/headers.ts";
import { grpcCall, GrpcCallback, grpcStatusMessage } from "../../../filters/sdk/grpc-call.ts";
import { httpCall, HttpCallback } from "../../../filters/sdk/http-call.ts";
import * as log from "../../../filters/sdk/log.ts";
import { Text } from "../../../filters/sdk/memory.ts";
import { Counter, Gauge, Histogram } from "../../../filters/sdk/metric.ts";
import { Pairs } from "../../../filters/sdk/pairs.ts";
import { Property } from "../../../filters/sdk/property.ts";
import { random } from "../../../filters/sdk/random.ts";
import * as shared from "../../../filters/sdk/shared.ts";
import { continueRequest, sendLocalResponse } from "../../../filters/sdk/stream.ts";
import { nowNanoseconds, setTickPeriod } from "../../../filters/sdk/time.ts";

const DO = new Text("x-do");
const HOST = new Text(":authority");

class ProbeRoot extends RootContext {
  garbage: Array<string> = [];

  override onConfigure(configuration: ArrayBuffer): bool {
    setTickPeriod(50);
    return String.UTF8.decode(configuration) != "refuse";
  }
  override createFilter(): StreamContext {
    return new ProbeFilter();
  }
  override onTick(): void {
    log.info("tick");
  }
  override onQueueReady(token: u32): void {
    const item = shared.dequeue(token);
    log.info(item === null ? "queue empty" : "queue: " + String.UTF8.decode(item));
  }
  override onDone(): bool {
    log.info("root done");
    return false;
  }
}

class ProbeFilter extends Filter implements HttpCallback, GrpcCallback {
  private secret: string = "";

  override onRequestHeaders(headers: u32, endOfStream: bool): i32 {
    const command = requestHeaders.get(DO);
    if (command === null) return Action.CONTINUE;
    this.secret = "stream " + this.contextId.toString();
    if (command == "headers") this.headers(headers, endOfStream);
    else if (command == "properties") this.properties();
    else if (command == "metrics") this.metrics();
    else if (command == "shared") this.shared();
    else if (command == "misc") this.misc();
    else if (command == "extensions") this.extensions();
    else if (command == "garbage") this.garbage();
    else if (command == "abort") this.fail();
    else if (command == "reply") {
      const extra = new Pairs().add("x-why", "probe").add("x-why", "twice");
      sendLocalResponse(403, "no entry: ü", "probe_details", extra, 7);
      return Action.PAUSE;
    } else if (command == "http") {
      const call = new Pairs().add(":method", "GET").add(":path", "/a").add(":authority", "b");
      const token = httpCall("cluster_a", call, "question", 250, this);
      log.info("token " + token.toString());
      return Action.PAUSE;
    } else if (command == "grpc") {
      const token = grpcCall("cluster_g", "pkg.Service", "Method", String.UTF8.encode("ask"), 20, this);
      log.info("token " + token.toString());
      return Action.PAUSE;
    }
    return Action.CONTINUE;
  }

  override onRequestBody(size: u32, endOfStream: bool): i32 {
    const text = requestBody.text();
    log.info(`body ${size} ${endOfStream} ${text === null ? "null" : text} ${requestBody.length}`);
    if (text == "set") requestBody.set("replaced €");
    if (text == "append") requestBody.append("!");
    if (text == "prepend") requestBody.prepend("?");
    if (text == "replace") requestBody.replace(1, 2, "--");
    log.info(responseBody.bytes() === null ? "no response body" : "response body");
    return Action.PAUSE;
  }

  override onRequestTrailers(trailers: u32): i32 {
    const sum = requestTrailers.get("x-sum");
    log.info(`trailers ${trailers} ${sum === null ? "null" : sum}`);
    return Action.CONTINUE;
  }

  override onTimer(): void {
    log.info("timer of " + this.secret);
    continueRequest();
  }

  override onLog(): void {
    log.info("log of " + this.secret);
  }

  onHttpResponse(token: u32, headers: u32, bodySize: u32, _trailers: u32): void {
    const status = callHeaders.get(":status");
    const body = callBody.text();
    log.info(
      `${this.secret} http ${token} ${headers} ${bodySize} ${status === null ? "-" : status} ${body === null ? "-" : body}`,
    );
    continueRequest();
  }
  onGrpcMessage(token: u32, size: u32): void {
    const text = grpcMessage.text();
    log.info(`${this.secret} grpc ${token} ${size} ${text === null ? "-" : text}`);
    continueRequest();
  }
  onGrpcClose(token: u32, status: i32): void {
    log.info(`${this.secret} grpc ${token} closed ${status} ${grpcStatusMessage()}`);
    continueRequest();
  }

  private fail(): i32 {
    const list = new Array<string>();
    return list[7].length;
  }

  private headers(count: u32, endOfStream: bool): void {
    const pairs = requestHeaders.pairs();
    log.info(`${count} ${endOfStream} ${pairs.length} ${pairs.name(0)}=${pairs.value(0)}`);
    log.info(requestHeaders.get("x-missing") === null ? "missing" : "there");
    const empty = requestHeaders.get("x-empty");
    log.info(empty === null ? "null" : "empty " + empty.length.toString());
    const host = requestHeaders.get(HOST);
    log.info(host === null ? "no host" : host);
    log.info(
      `${requestHeaders.equals(HOST, "example.org")} ${requestHeaders.equals(HOST, "example.or")} ${requestHeaders.has("x-empty")}`,
    );
    const raw = requestHeaders.bytes("x-raw");
    log.info(raw === null ? "no raw" : Uint8Array.wrap(raw).toString());
    const rawText = requestHeaders.get("x-raw");
    if (rawText !== null) requestHeaders.add("x-copy", rawText);
    requestHeaders.replace("x-empty", "full");
    requestHeaders.remove("x-gone");
    const long = requestHeaders.get("x-long");
    log.info(long === null ? "no long" : long.length.toString());
    log.info(responseHeaders.add("x-a", "b") ? "added" : "refused");
    log.info(responseHeaders.pairs().length.toString());
    requestHeaders.setPairs(requestHeaders.pairs().add("x-last", "1"));
  }

  private properties(): void {
    const path = new Property("request.path").text();
    log.info(path === null ? "null" : path);
    log.info(new Property("request.size").integer(-1).toString());
    log.info(new Property("no.such").integer(-1).toString());
    log.info(new Property("connection.mtls").boolean().toString());
    log.info(new Property("a.b|c", "|").exists().toString());
    log.info(new Property("wasm.own").set("mine") ? "set" : "refused");
  }

  private metrics(): void {
    const counter = new Counter("probe.count");
    counter.increment();
    counter.increment(4);
    const gauge = new Gauge("probe.level");
    gauge.set(7);
    gauge.add(-3);
    new Histogram("probe.time").record(12);
    log.info(`${counter.value} ${gauge.value}`);
  }

  private shared(): void {
    const missing = shared.getSharedData("key");
    log.info(missing === null ? "missing" : "there");
    log.info(shared.setSharedData("key", "one").toString());
    const value = shared.getSharedData("key");
    if (value === null) return;
    log.info(String.UTF8.decode(value.bytes) + " " + value.cas.toString());
    log.info(shared.setSharedData("key", "two", value.cas).toString());
    log.info(shared.setSharedData("key", "three", value.cas).toString());
    const queue = shared.registerQueue("q");
    log.info(`${queue} ${shared.resolveQueue("", "q")} ${shared.resolveQueue("", "other")}`);
    shared.enqueue(queue, "item");
  }

  private misc(): void {
    log.info(`${nowNanoseconds()} ${random()}`);
    const answer = callForeignFunction("reverse", "abc");
    log.info(answer === null ? "null" : String.UTF8.decode(answer));
    log.info(callForeignFunction("nothing", "") === null ? "null" : "there");
    log.info(`${log.enabled(LogLevel.DEBUG)} ${log.enabled(LogLevel.INFO)} ${log.enabled(LogLevel.ERROR)}`);
    log.debug("ünï");
  }

  private extensions(): void {
    extensions.setTimer(30);
    const id = extensions.routeConfigurationId();
    const bytes = extensions.routeConfiguration(id);
    log.info(`${id} ${bytes === null ? -1 : bytes.byteLength}`);
    log.info(extensions.routeConfiguration(99) === null ? "null" : "there");
    const descriptors = extensions.rateLimitDescriptors(0, 0);
    for (let i = 0; i < descriptors.length; i++) log.info(String.UTF8.decode(descriptors[i]));
    extensions.setResponseFlag(11);
    const bucket = new extensions.TokenBucket("b", 2, 1, 1000);
    log.info(`${bucket.take()} ${bucket.remaining} ${bucket.take(2)} ${bucket.remaining} ${bucket.resetMs}`);
    log.info(extensions.runtimeFraction("some.key", 3, 10).toString());
  }

  private garbage(): void {
    let text = "";
    for (let i = 0; i < 50; i++) text += i.toString();
    log.info(text.length.toString());
  }
}

register((): RootContext => new ProbeRoot());
