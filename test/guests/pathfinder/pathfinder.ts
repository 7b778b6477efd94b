/** A filter that chooses the hosts of a request: what `x-version` says is what their metadata must say. */
import { CONTINUE } from "sluice/abi/action.ts";
import { DecoderFilter, RootContext, StreamContext } from "sluice/filters/sdk/context.ts";
import { register } from "sluice/filters/sdk/contexts.ts";
import { setDynamicMetadata } from "sluice/filters/sdk/extensions.ts";
import { requestHeaders } from "sluice/filters/sdk/headers.ts";

class PathfinderRoot extends RootContext {
  override createFilter(): StreamContext {
    return new PathfinderFilter();
  }
}

class PathfinderFilter extends DecoderFilter {
  override onRequestHeaders(_headers: u32, _endOfStream: bool): i32 {
    const version = requestHeaders.get("x-version");
    if (version !== null) setDynamicMetadata("envoy.lb", versionStruct(version));
    return CONTINUE;
  }
}

/** google.protobuf.Struct { fields: { version: … } }, of short texts. */
function versionStruct(version: string): ArrayBuffer {
  const text = Uint8Array.wrap(String.UTF8.encode(version));
  const key = Uint8Array.wrap(String.UTF8.encode("version"));
  const value = text.length + 2;
  const entry = key.length + 2 + value + 2;
  const bytes = new Uint8Array(entry + 2);
  bytes.set([10, <u8>entry, 10, <u8>key.length]);
  bytes.set(key, 4);
  bytes.set([18, <u8>value, 26, <u8>text.length], 4 + key.length);
  bytes.set(text, 8 + key.length);
  return bytes.buffer;
}

register((): RootContext => new PathfinderRoot());
