/** Decodes its configuration as `Everything` and hands it back, encoded anew. */
import { RootContext } from "../../../filters/sdk/context.ts";
import { register } from "../../../filters/sdk/contexts.ts";
import { callForeignFunction } from "../../../filters/sdk/foreign.ts";
import { Everything } from "./messages.pb.ts";

class MessagesRoot extends RootContext {
  override onConfigure(configuration: ArrayBuffer): bool {
    const everything = Everything.decode(configuration);
    if (everything === null) return false;
    callForeignFunction<string, ArrayBuffer>("encoded", everything.encode());
    return true;
  }
}

register((): RootContext => new MessagesRoot());
