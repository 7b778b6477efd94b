/** What a shadow knows of its stream or connection: the facts are the real ones, what it writes is its own. */
import { StreamInfo } from "../../observe/stream-info.ts";

export class ShadowInfo extends StreamInfo {
  static of(real: StreamInfo): ShadowInfo {
    const own = new ShadowInfo(real.connection, real.startTimeMs, real.startMs);
    // Most streams have neither.
    if (real.dynamicMetadata !== null) own.dynamicMetadata = structuredClone(real.dynamicMetadata);
    if (real.filterState !== null) own.filterState = structuredClone(real.filterState);
    own.follow(real);
    return own;
  }

  /** What has become known since; what the filter itself has set stays. */
  follow(real: StreamInfo): void {
    const { dynamicMetadata, filterState } = this;
    Object.assign(this, real, { dynamicMetadata, filterState });
  }

  /** What the filter says of the connection stays with the shadow, too. */
  override stateToWrite(): Map<string, Uint8Array> {
    return super.stateToWrite(false);
  }
}
