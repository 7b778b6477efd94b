/** The wire filter on our own SDK; test/languages/wire.test.ts says what it does. */
import * as Action from "../../../abi/action.ts";
import { callBody, downstreamData, upstreamData } from "../../../filters/sdk/body.ts";
import { NetworkFilter, RootContext, StreamContext } from "../../../filters/sdk/context.ts";
import { register } from "../../../filters/sdk/contexts.ts";
import { httpCall, HttpCallback } from "../../../filters/sdk/http-call.ts";
import * as log from "../../../filters/sdk/log.ts";
import { Pairs } from "../../../filters/sdk/pairs.ts";
import { Property } from "../../../filters/sdk/property.ts";
import { closeConnection, continueDownstream } from "../../../filters/sdk/stream.ts";

const TAG = "assemblyscript";
const PORT = new Property("source.port");

class WireRoot extends RootContext {
  override createFilter(): StreamContext {
    return new WireFilter();
  }
}

class WireFilter extends NetworkFilter implements HttpCallback {
  override onNewConnection(): i32 {
    log.info(TAG + " opens");
    return Action.CONTINUE;
  }

  override onDownstreamData(_size: u32, endOfStream: bool): i32 {
    const text = downstreamData.text();
    if (text === null) return Action.CONTINUE;
    if (!text.endsWith("\n")) return endOfStream ? Action.CONTINUE : Action.PAUSE;
    if (text == "call\n") {
      const head = new Pairs().add(":method", "POST").add(":path", "/wire").add(":authority", "side");
      if (httpCall("side", head, "question", 60000, this) == 0) throw new Error("no call");
      return Action.PAUSE;
    }
    if (text == "close\n") closeConnection();
    else if (text == "who\n") downstreamData.set("who " + PORT.integer().toString() + "\n");
    else downstreamData.prepend(TAG + "> ");
    return Action.CONTINUE;
  }

  onHttpResponse(_token: u32, _headers: u32, _bodySize: u32, _trailers: u32): void {
    const answer = callBody.text();
    downstreamData.set("call " + (answer === null ? "failed" : answer) + "\n");
    continueDownstream();
  }

  override onUpstreamData(size: u32, _endOfStream: bool): i32 {
    if (size > 0) upstreamData.prepend(TAG + "< ");
    return Action.CONTINUE;
  }
  override onUpstreamClose(peer: i32): void {
    log.info(TAG + " upstream " + peer.toString());
  }
  override onDownstreamClose(peer: i32): void {
    log.info(TAG + " closed " + peer.toString());
  }
  override onLog(): void {
    log.info(TAG + " ends");
  }
}

register((): RootContext => new WireRoot());
