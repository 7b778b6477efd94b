/** A stream that is over, as an access logger sees it: everything can be read, nothing can be done to it any more. */
import type { HeaderMap } from "../../codec/headers.ts";
import type { StreamView } from "../../http/filter.ts";
import type { StreamInfo } from "../../observe/stream-info.ts";

const NO_DESCRIPTORS: readonly Uint8Array[] = [];

export class LoggedStream implements StreamView {
  readonly info: StreamInfo;
  readonly requestTrailers = null;
  readonly bufferedRequestBody = null;
  readonly bufferedResponseBody = null;
  readonly responseStarted = true;

  constructor(info: StreamInfo) {
    this.info = info;
  }

  get requestHeaders(): HeaderMap | null {
    return this.info.requestHeaders;
  }
  get responseHeaders(): HeaderMap | null {
    return this.info.responseHeaders;
  }
  get responseTrailers(): HeaderMap | null {
    return this.info.responseTrailers;
  }

  continueRequest(): void {}
  continueResponse(): void {}
  addRequestTrailers(): HeaderMap | null {
    return null;
  }
  addResponseTrailers(): HeaderMap | null {
    return null;
  }
  sendLocalReply(): boolean {
    return false;
  }
  resetStream(): void {}
  clearRouteCache(): void {}
  /** A stream that is over has the route that it had. */
  resolveRoute(): void {}
  perRouteConfigId(): number {
    return 0;
  }
  perRouteConfig(): undefined {
    return undefined;
  }
  rateLimitDescriptors(): readonly Uint8Array[] {
    return NO_DESCRIPTORS;
  }
  skipResponse(): void {}
  joinResponse(): void {}
  paceResponse(): void {}
}
