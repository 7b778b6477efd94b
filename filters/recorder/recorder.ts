/**
 * Tells each request to the log, for `sluice dev` to send it again: headers as pairs and the body, in hexadecimal.
 * Requests that are sent again say so in a header, which goes no further; requests that are too large are left out.
 * With the root id "connections" it is a network filter (connections.ts).
 */
import { CONTINUE } from "../../abi/action.ts";
import { requestBody } from "../sdk/body.ts";
import { DecoderFilter, RootContext, StreamContext } from "../sdk/context.ts";
import { register } from "../sdk/contexts.ts";
import { requestHeaders } from "../sdk/headers.ts";
import * as log from "../sdk/log.ts";
import { ConnectionsRoot } from "./connections.ts";
import { hex, MOST } from "./hex.ts";

/** Marks requests that are sent again. */
const REPLAY = "x-sluice-replay";

class RecorderRoot extends RootContext {
  override createFilter(): StreamContext {
    return new Recorder();
  }
}

class Recorder extends DecoderFilter {
  private headers: string = "";
  private body: string = "";
  private room: i32 = MOST;
  private over: bool = false;

  override onRequestHeaders(_headers: u32, endOfStream: bool): i32 {
    if (requestHeaders.has(REPLAY)) {
      requestHeaders.remove(REPLAY);
      this.over = true;
      return CONTINUE;
    }
    const pairs = requestHeaders.pairs().encode();
    this.take(pairs.byteLength);
    if (!this.over) this.headers = hex(pairs);
    if (endOfStream) this.tell();
    return CONTINUE;
  }

  override onRequestBody(size: u32, endOfStream: bool): i32 {
    this.take(<i32>size);
    if (!this.over && size > 0) {
      const bytes = requestBody.bytes();
      if (bytes !== null) this.body += hex(bytes);
    }
    if (endOfStream) this.tell();
    return CONTINUE;
  }

  override onRequestTrailers(_trailers: u32): i32 {
    this.tell();
    return CONTINUE;
  }

  /** Who answered before the body was whole: what came until then is told. */
  override onDone(): bool {
    if (this.headers.length > 0) this.tell();
    return true;
  }

  private take(size: i32): void {
    this.room -= size;
    if (this.room < 0) this.over = true;
  }

  private tell(): void {
    if (this.over) return;
    this.over = true;
    log.info("recorded " + this.headers + " " + this.body);
  }
}

register((): RootContext => new RecorderRoot());
register((): RootContext => new ConnectionsRoot(), "connections");
