/** Lets connections through that begin with a word, closes others, and counts both. */
import { CONTINUE, PAUSE } from "sluice/abi/action.ts";
import { downstreamData } from "sluice/filters/sdk/body.ts";
import { NetworkFilter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { Counter } from "sluice/filters/sdk/metric.ts";
import { closeConnection } from "sluice/filters/sdk/stream.ts";
import { Starter } from "./starter.pb.ts";

/** One for each configuration of the filter. */
class StarterRoot extends RootContext {
  settings: Starter = new Starter();
  admitted: Counter | null = null;
  refused: Counter | null = null;

  override onConfigure(configuration: ArrayBuffer): bool {
    const settings = Starter.decode(configuration);
    if (settings === null) return false;
    this.settings = settings;
    this.admitted = new Counter("starter.admitted");
    this.refused = new Counter("starter.refused");
    return true;
  }

  override createFilter(): StreamContext {
    return new StarterFilter(this);
  }
}

/** One for each connection. */
class StarterFilter extends NetworkFilter {
  private readonly root: StarterRoot;
  private admitted: bool = false;

  constructor(root: StarterRoot) {
    super();
    this.root = root;
  }

  /** `onUpstreamData` is the same for what comes back, `onNewConnection` comes before any byte. */
  override onDownstreamData(size: u32, endOfStream: bool): i32 {
    if (this.admitted) return CONTINUE;
    const word = this.root.settings.word;
    const length = <u32>String.UTF8.byteLength(word);
    // Bytes come in pieces of any size: what is too short stays, and is here again with what follows.
    if (size < length && !endOfStream) return PAUSE;
    if (downstreamData.text(0, length) != word) {
      this.root.refused!.increment();
      closeConnection();
      return PAUSE;
    }
    this.admitted = true;
    this.root.admitted!.increment();
    return CONTINUE;
  }
}

register((): RootContext => new StarterRoot());
