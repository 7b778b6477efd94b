/**
 * The model of a custom filter, written only with what an outside author has. It tells `msg` in the log at
 * each phase, and in the header `x-evangelist` of requests and responses.
 */
import { CONTINUE } from "../../abi/action.ts";
import * as LogLevel from "../../abi/log-level.ts";
import { Filter, RootContext, StreamContext } from "../sdk/context.ts";
import { register } from "../sdk/contexts.ts";
import { requestHeaders, responseHeaders } from "../sdk/headers.ts";
import * as log from "../sdk/log.ts";
import { Text } from "../sdk/memory.ts";
import { Evangelist } from "./evangelist.pb.ts";

const MARK = new Text("x-evangelist");

class EvangelistRoot extends RootContext {
  message: Text = MARK;
  silent: bool = false;

  override onConfigure(configuration: ArrayBuffer): bool {
    const evangelist = Evangelist.decode(configuration);
    if (evangelist === null) return false;
    this.message = new Text(evangelist.msg);
    this.silent = evangelist.silent;
    return true;
  }

  override createFilter(): StreamContext {
    return new EvangelistFilter(this);
  }
}

class EvangelistFilter extends Filter {
  private readonly root: EvangelistRoot;

  constructor(root: EvangelistRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    this.tell("decode headers");
    requestHeaders.replace(MARK, this.root.message);
    return CONTINUE;
  }

  override onRequestBody(_size: u32, _endOfStream: bool): i32 {
    this.tell("decode data");
    return CONTINUE;
  }

  override onRequestTrailers(_trailers: u32): i32 {
    this.tell("decode trailers");
    return CONTINUE;
  }

  override onResponseHeaders(_headers: u32, _endOfStream: bool): i32 {
    this.tell("encode headers");
    responseHeaders.replace(MARK, this.root.message);
    return CONTINUE;
  }

  override onResponseBody(_size: u32, _endOfStream: bool): i32 {
    this.tell("encode data");
    return CONTINUE;
  }

  override onResponseTrailers(_trailers: u32): i32 {
    this.tell("encode trailers");
    return CONTINUE;
  }

  private tell(phase: string): void {
    if (this.root.silent || !log.enabled(LogLevel.INFO)) return;
    log.info(phase + ": " + this.root.message.toString());
  }
}

register((): RootContext => new EvangelistRoot());
