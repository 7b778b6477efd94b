/** Properties (attributes) of the request, response, connection, route, cluster, node … by path. */
import * as Status from "../../abi/status.ts";
import { proxy_get_property, proxy_set_property } from "./env.ts";
import {
  beginCall,
  bytesSize,
  expectBuffer,
  expectNothing,
  releaseLanding,
  resultP,
  resultSizeP,
  takeBuffer,
  takeUtf8,
  Text,
  utf8Of,
} from "./memory.ts";

/** One path, made once: `const CODE = new Property("response.code")`. */
export class Property {
  readonly path: Text;

  /** Segments are parted by dots; with `separator`, by that (for segments that hold dots themselves). */
  constructor(path: string, separator: string = ".") {
    this.path = new Text(path.replaceAll(separator, "\0"));
  }

  /** Text (UTF-8); null when there is no such value now. */
  text(): string | null {
    return this.look() ? takeUtf8() : null;
  }

  bytes(): ArrayBuffer | null {
    expectBuffer();
    if (this.look()) return takeBuffer();
    expectNothing();
    return null;
  }

  /** Integers, durations and timestamps (nanoseconds); `missing` when there is no such value now. */
  integer(missing: i64 = 0): i64 {
    return this.look() && load<usize>(resultSizeP) == 8 ? load<i64>(load<usize>(resultP)) : missing;
  }

  double(missing: f64 = 0): f64 {
    return this.look() && load<usize>(resultSizeP) == 8 ? load<f64>(load<usize>(resultP)) : missing;
  }

  boolean(missing: bool = false): bool {
    return this.look() && load<usize>(resultSizeP) == 1 ? load<u8>(load<usize>(resultP)) != 0 : missing;
  }

  exists(): bool {
    const found = this.look();
    releaseLanding();
    return found;
  }

  /** Stores a value for other filters of the stream. False when the host refuses. */
  set<V>(value: V): bool {
    beginCall();
    const address = utf8Of<V>(value);
    const path = this.path.bytes;
    return proxy_set_property(changetype<usize>(path), path.length, address, bytesSize) == Status.OK;
  }

  private look(): bool {
    const path = this.path.bytes;
    store<usize>(resultP, 0);
    store<usize>(resultSizeP, 0);
    return proxy_get_property(changetype<usize>(path), path.length, resultP, resultSizeP) == Status.OK;
  }
}
