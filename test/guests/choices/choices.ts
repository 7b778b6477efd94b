/**
 * A filter that does something of every kind that a shadow is compared by. Tests rewrite the letter of CHOICE in the
 * module's bytes (test/hotload/versions.ts): it says in what this version differs.
 */
import { CONTINUE, PAUSE } from "sluice/abi/action.ts";
import { grpcMessage, requestBody, responseBody } from "sluice/filters/sdk/body.ts";
import { Filter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { setDynamicMetadata } from "sluice/filters/sdk/extensions.ts";
import { callHeaders, requestHeaders, responseHeaders, responseTrailers } from "sluice/filters/sdk/headers.ts";
import { cancelGrpcCall, GrpcCallback, grpcStream, sendGrpcMessage } from "sluice/filters/sdk/grpc-call.ts";
import { HttpCallback, httpCall } from "sluice/filters/sdk/http-call.ts";
import { Counter } from "sluice/filters/sdk/metric.ts";
import { Pairs } from "sluice/filters/sdk/pairs.ts";
import { Property } from "sluice/filters/sdk/property.ts";
import { getSharedData, setSharedData } from "sluice/filters/sdk/shared.ts";
import { continueRequest, sendLocalResponse } from "sluice/filters/sdk/stream.ts";

const CHOICE: string = "sluice-choice:-";
const LETTER: i32 = 14;
/** google.protobuf.Struct { fields: { a: "1" } }, and the same with "2". */
const ONE: StaticArray<u8> = [10, 8, 10, 1, 97, 18, 3, 26, 1, 49];
const TWO: StaticArray<u8> = [10, 8, 10, 1, 97, 18, 3, 26, 1, 50];
const STATE = new Property("choices.state");

function differs(letter: string): bool {
  return CHOICE.charAt(LETTER) == letter;
}

class ChoicesRoot extends RootContext {
  calls: Counter | null = null;

  override onConfigure(_configuration: ArrayBuffer): bool {
    this.calls = new Counter("choices.calls");
    return true;
  }
  override createFilter(): StreamContext {
    return new ChoicesFilter(this);
  }
}

class ChoicesFilter extends Filter implements HttpCallback, GrpcCallback {
  private readonly root: ChoicesRoot;

  constructor(root: ChoicesRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    const path = requestHeaders.get(":path")!;
    const fields = differs("m") ? TWO : ONE;
    const bytes = new ArrayBuffer(fields.length);
    memory.copy(changetype<usize>(bytes), changetype<usize>(fields), fields.length);
    setDynamicMetadata("choices", bytes);
    requestHeaders.remove("content-length");
    STATE.set(differs("f") ? "other" : "one");
    if (path == "/deny") {
      sendLocalResponse(differs("a") ? 429 : 403, differs("b") ? "no!" : "no", "choices");
      return PAUSE;
    }
    if (path == "/talk") {
      const talk = grpcStream("talk", "test.Talk", "Chat", this);
      sendGrpcMessage(talk, String.UTF8.encode("question"), false);
      return PAUSE;
    }
    if (path != "/call") return CONTINUE;
    this.root.calls!.increment();
    setSharedData("asked", differs("d") ? "other" : "live");
    const head = new Pairs()
      .add(":method", "POST")
      .add(":path", differs("c") ? "/other" : "/question")
      .add(":authority", "side");
    httpCall("side", head, "body", 60000, this);
    return PAUSE;
  }

  onHttpResponse(_token: u32, _headers: u32, _size: u32, _trailers: u32): void {
    const answer = callHeaders.get("x-answer");
    requestHeaders.replace("x-answer", answer === null ? "none" : answer);
    continueRequest();
  }

  /** The second one answers what was asked after the first. */
  onGrpcMessage(token: u32, _size: u32): void {
    const answer = grpcMessage.text()!;
    if (answer == "first question") {
      sendGrpcMessage(token, String.UTF8.encode(differs("g") ? "other" : "more"), false);
      return;
    }
    requestHeaders.replace("x-talk", answer);
    cancelGrpcCall(token);
    continueRequest();
  }

  onGrpcClose(_token: u32, _status: i32): void {
    requestHeaders.replace("x-talk", "none");
    continueRequest();
  }

  override onRequestBody(_size: u32, endOfStream: bool): i32 {
    if (!endOfStream) return PAUSE;
    requestBody.append(differs("q") ? "?" : "!");
    return CONTINUE;
  }

  override onResponseHeaders(_headers: u32, _endOfStream: bool): i32 {
    responseHeaders.remove("content-length");
    if (differs("h")) responseHeaders.add("x-more", "secret");
    if (differs("s")) responseHeaders.replace(":status", "201");
    const asked = getSharedData("asked");
    if (asked !== null) responseHeaders.add("x-asked", String.UTF8.decode(asked.bytes));
    return CONTINUE;
  }

  override onResponseBody(_size: u32, endOfStream: bool): i32 {
    if (endOfStream) responseBody.append(differs("b") ? " and more" : " and so on");
    if (endOfStream) responseTrailers.add("x-end", differs("t") ? "2" : "1");
    return CONTINUE;
  }
}

register((): RootContext => new ChoicesRoot());
