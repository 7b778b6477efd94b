/** Marks every response, and answers requests for a path of its own. */
import { CONTINUE, PAUSE } from "sluice/abi/action.ts";
import { Filter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { requestHeaders, responseHeaders } from "sluice/filters/sdk/headers.ts";
import { Counter } from "sluice/filters/sdk/metric.ts";
import { sendLocalResponse } from "sluice/filters/sdk/stream.ts";
import { Starter } from "./starter.pb.ts";

/** One for each configuration of the filter. */
class StarterRoot extends RootContext {
  settings: Starter = new Starter();
  marked: Counter | null = null;

  override onConfigure(configuration: ArrayBuffer): bool {
    const settings = Starter.decode(configuration);
    if (settings === null) return false;
    this.settings = settings;
    this.marked = new Counter("starter.marked");
    return true;
  }

  override createFilter(): StreamContext {
    return new StarterFilter(this);
  }
}

/** One for each request. */
class StarterFilter extends Filter {
  private readonly root: StarterRoot;

  constructor(root: StarterRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    if (requestHeaders.get(":path") != "/starter") return CONTINUE;
    sendLocalResponse(200, `${this.root.settings.greeting}\n`, "starter");
    return PAUSE;
  }

  override onResponseHeaders(_headers: u32, _endOfStream: bool): i32 {
    responseHeaders.replace("x-starter", this.root.settings.greeting);
    this.root.marked!.increment();
    return CONTINUE;
  }
}

register((): RootContext => new StarterRoot());
