// Generated from evangelist.proto by filters/build. Changes are overwritten.

import { Reader } from "../sdk/wire-reader.ts";
import { Writer } from "../sdk/wire-writer.ts";

export class Evangelist {
  msg: string = "";
  silent: bool = false;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): Evangelist | null {
    const reader = new Reader(bytes);
    const message = new Evangelist();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.msg = reader.string();
          break;
        }
        case 16: {
          this.silent = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.msg.length > 0) {
      writer.tag(10);
      writer.string(this.msg);
    }
    if (this.silent) {
      writer.tag(16);
      writer.bool(this.silent);
    }
  }
}
