/** A custom filter: requests without a known token are answered 401. */
import { CONTINUE, PAUSE } from "sluice/abi/action.ts";
import { DecoderFilter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { requestHeaders } from "sluice/filters/sdk/headers.ts";
import { Counter } from "sluice/filters/sdk/metric.ts";
import { sendLocalResponse } from "sluice/filters/sdk/stream.ts";
import { Tollgate } from "./tollgate.pb.ts";

/** One per configuration. */
class TollgateRoot extends RootContext {
  settings: Tollgate = new Tollgate();
  refused: Counter | null = null;

  override onConfigure(configuration: ArrayBuffer): bool {
    const settings = Tollgate.decode(configuration);
    if (settings === null) return false;
    this.settings = settings;
    this.refused = new Counter("tollgate.refused");
    return true;
  }

  override createFilter(): StreamContext {
    return new TollgateFilter(this);
  }
}

/** One per request. It has no response callback, so responses do not even pass by the module. */
class TollgateFilter extends DecoderFilter {
  private readonly root: TollgateRoot;

  constructor(root: TollgateRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    const token = requestHeaders.get(this.root.settings.header);
    if (token !== null && this.root.settings.tokens.includes(token)) {
      requestHeaders.remove(this.root.settings.header);
      return CONTINUE;
    }
    this.root.refused!.increment();
    sendLocalResponse(401, "a token, please\n", "tollgate");
    return PAUSE;
  }
}

register((): RootContext => new TollgateRoot());
