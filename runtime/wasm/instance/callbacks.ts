/** The stream callbacks of one instance, looked up once. */
import type { GuestFunction, Instance } from "./instance.ts";

/** Each is null when the module does not export it (or may not be called there). */
export interface HttpCallbacks {
  readonly contextCreate: GuestFunction | null;
  readonly requestHeaders: GuestFunction | null;
  readonly requestData: GuestFunction | null;
  readonly requestTrailers: GuestFunction | null;
  readonly responseHeaders: GuestFunction | null;
  readonly responseData: GuestFunction | null;
  readonly responseTrailers: GuestFunction | null;
  readonly log: GuestFunction | null;
  readonly done: GuestFunction | null;
  readonly remove: GuestFunction | null;
  readonly timer: GuestFunction | null;
}

export function httpCallbacks(instance: Instance): HttpCallbacks {
  return {
    contextCreate: instance.export("proxy_on_context_create"),
    requestHeaders: instance.export("proxy_on_request_headers"),
    requestData: instance.export("proxy_on_request_body"),
    requestTrailers: instance.export("proxy_on_request_trailers"),
    responseHeaders: instance.export("proxy_on_response_headers"),
    responseData: instance.export("proxy_on_response_body"),
    responseTrailers: instance.export("proxy_on_response_trailers"),
    log: instance.export("proxy_on_log"),
    done: instance.export("proxy_on_done"),
    remove: instance.export("proxy_on_delete"),
    timer: instance.export("sluice_on_timer"),
  };
}
