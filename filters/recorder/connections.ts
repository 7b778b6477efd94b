/**
 * Tells each connection to the log while it goes on, by the address it comes from: bytes from downstream in hexadecimal, how
 * many came back, its end and by whom. A connection that is too large says so and is quiet from then on.
 */
import { CONTINUE } from "../../abi/action.ts";
import { LOCAL } from "../../abi/peer.ts";
import { downstreamData } from "../sdk/body.ts";
import { NetworkFilter, RootContext, StreamContext } from "../sdk/context.ts";
import * as log from "../sdk/log.ts";
import { Property } from "../sdk/property.ts";
import { hex, MOST } from "./hex.ts";

const SOURCE = new Property("source.address");

export class ConnectionsRoot extends RootContext {
  override createFilter(): StreamContext {
    return new ConnectionRecorder();
  }
}

class ConnectionRecorder extends NetworkFilter {
  private source: string = "";
  private room: i32 = MOST;

  override onNewConnection(): i32 {
    const source = SOURCE.text();
    this.source = source === null ? "" : source;
    this.tell("opens");
    return CONTINUE;
  }

  override onDownstreamData(size: u32, endOfStream: bool): i32 {
    if (this.room >= 0 && size > 0) {
      this.room -= <i32>size;
      if (this.room < 0) this.tell("large");
      else this.send();
    }
    if (endOfStream) this.tell("ends");
    return CONTINUE;
  }

  override onUpstreamData(size: u32, _endOfStream: bool): i32 {
    if (this.room >= 0 && size > 0) this.tell("gets " + size.toString());
    return CONTINUE;
  }

  override onDownstreamClose(peer: i32): void {
    this.tell(peer == LOCAL ? "is-closed" : "closes");
  }

  private send(): void {
    const bytes = downstreamData.bytes();
    if (bytes !== null) this.tell("sends " + hex(bytes));
  }

  private tell(what: string): void {
    log.info("connection " + this.source + " " + what);
  }
}
