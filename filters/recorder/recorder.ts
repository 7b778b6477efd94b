/**
 * Tells each request to the log, for `sluice dev` to send it again: headers as pairs and the body, in hexadecimal.
 * Requests that are sent again say so in a header, which goes no further; requests that are too large are left out.
 */
import { CONTINUE } from "../../abi/action.ts";
import { requestBody } from "../sdk/body.ts";
import { DecoderFilter, RootContext, StreamContext } from "../sdk/context.ts";
import { register } from "../sdk/contexts.ts";
import { requestHeaders } from "../sdk/headers.ts";
import * as log from "../sdk/log.ts";

/** Marks requests that are sent again. */
const REPLAY = "x-sluice-replay";
/** Bytes of headers and body that fit into one line of the log, in hexadecimal. */
const MOST: i32 = 30_000;
const DIGITS = "0123456789abcdef";

class RecorderRoot extends RootContext {
  override createFilter(): StreamContext {
    return new Recorder();
  }
}

class Recorder extends DecoderFilter {
  private headers: string = "";
  private body: string = "";
  private room: i32 = MOST;
  private over: bool = false;

  override onRequestHeaders(_headers: u32, endOfStream: bool): i32 {
    if (requestHeaders.has(REPLAY)) {
      requestHeaders.remove(REPLAY);
      this.over = true;
      return CONTINUE;
    }
    const pairs = requestHeaders.pairs().encode();
    this.take(pairs.byteLength);
    if (!this.over) this.headers = hex(pairs);
    if (endOfStream) this.tell();
    return CONTINUE;
  }

  override onRequestBody(size: u32, endOfStream: bool): i32 {
    this.take(<i32>size);
    if (!this.over && size > 0) {
      const bytes = requestBody.bytes();
      if (bytes !== null) this.body += hex(bytes);
    }
    if (endOfStream) this.tell();
    return CONTINUE;
  }

  override onRequestTrailers(_trailers: u32): i32 {
    this.tell();
    return CONTINUE;
  }

  private take(size: i32): void {
    this.room -= size;
    if (this.room < 0) this.over = true;
  }

  private tell(): void {
    if (this.over) return;
    this.over = true;
    log.info("recorded " + this.headers + " " + this.body);
  }
}

function hex(bytes: ArrayBuffer): string {
  const view = Uint8Array.wrap(bytes);
  const text = new StaticArray<u16>(view.length * 2);
  for (let at = 0; at < view.length; at++) {
    const byte = <i32>view[at];
    text[at * 2] = <u16>DIGITS.charCodeAt(byte >> 4);
    text[at * 2 + 1] = <u16>DIGITS.charCodeAt(byte & 15);
  }
  return String.UTF16.decodeUnsafe(changetype<usize>(text), text.length * 2);
}

register((): RootContext => new RecorderRoot());
