/**
 * A filter of which many versions are made without compiling: tests rewrite VERSION in the module's bytes
 * (test/hotload/versions.ts). Every response says which version it had, in both directions; the letter says what the
 * version does wrong.
 */
import { CONTINUE, PAUSE } from "sluice/abi/action.ts";
import { Filter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { randomBits } from "sluice/filters/sdk/extensions.ts";
import { requestHeaders, responseHeaders } from "sluice/filters/sdk/headers.ts";
import { Counter } from "sluice/filters/sdk/metric.ts";
import { getSharedData, setSharedData } from "sluice/filters/sdk/shared.ts";
import { sendLocalResponse } from "sluice/filters/sdk/stream.ts";
import { Versions } from "./versions.pb.ts";

/** Four digits, then the letter. */
const VERSION: string = "sluice-version:0000-";
const DIGITS: i32 = 15;
const LETTER: i32 = 19;

let requests: i32 = 0;
let waste: i32 = 0;

function fails(letter: string): bool {
  return VERSION.charAt(LETTER) == letter;
}

function trap(depth: i32): i32 {
  return 100 / depth;
}

class VersionsRoot extends RootContext {
  mark: string = "";
  seen: Counter | null = null;

  override onVmStart(_size: u32): bool {
    if (fails("s")) trap(requests);
    return true;
  }

  override onConfigure(configuration: ArrayBuffer): bool {
    if (fails("c")) return false;
    const settings = Versions.decode(configuration);
    if (settings === null) return false;
    this.mark = settings.mark;
    if (fails("k") && this.mark == "other") return false;
    this.seen = new Counter("versions.seen");
    return true;
  }

  override createFilter(): StreamContext {
    return new VersionsFilter(this);
  }
}

class VersionsFilter extends Filter {
  private readonly root: VersionsRoot;
  private number: string = "";

  constructor(root: VersionsRoot) {
    super();
    this.root = root;
  }

  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    this.number = VERSION.substring(DIGITS, LETTER);
    this.root.seen!.increment();
    requests++;
    if (fails("r")) trap(requests - requests);
    if (fails("l")) while (requests > 0) requests++;
    if (fails("m") && requests == 1000) trap(requests - 1000);
    if (fails("p") && requests % 100 == 0) trap(requests % 100);
    // By chance, whatever instance it is.
    if (fails("q") && randomBits() % 100 == 0) trap(requests - requests);
    // Some milliseconds.
    if (fails("w")) for (let n = 0; n < 10000000; n++) requests = requests ^ n;
    // A bad tail: one in fifty takes many milliseconds, and more fuel than a callback has by default.
    if (fails("t") && requests % 50 == 0) for (let n = 0; n < 60000000; n++) waste = waste ^ n;
    const path = requestHeaders.get(":path");
    if (path !== null && path == "/remember") setSharedData("last", this.number);
    if (fails("d")) {
      requestHeaders.replace("x-different", "yes");
      if (path !== null && path == "/deny") {
        sendLocalResponse(403, "", "versions");
        return PAUSE;
      }
    }
    requestHeaders.replace("x-version-seen", this.number);
    return CONTINUE;
  }

  override onResponseHeaders(_headers: u32, _endOfStream: bool): i32 {
    responseHeaders.add("x-version", this.number);
    responseHeaders.add("x-mark", this.root.mark);
    const last = getSharedData("last");
    if (last !== null) responseHeaders.add("x-last", String.UTF8.decode(last.bytes));
    return CONTINUE;
  }
}

register((): RootContext => new VersionsRoot());
