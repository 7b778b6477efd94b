/** The callbacks of one instance for streams and connections, looked up once. */
import type { GuestFunction, Instance } from "./instance.ts";

/** Each is null when the module does not export it (or may not be called there). */
export interface StreamCallbacks {
  readonly contextCreate: GuestFunction | null;
  readonly newConnection: GuestFunction | null;
  readonly downstreamData: GuestFunction | null;
  readonly upstreamData: GuestFunction | null;
  readonly downstreamClose: GuestFunction | null;
  readonly upstreamClose: GuestFunction | null;
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

export function streamCallbacks(instance: Instance): StreamCallbacks {
  return {
    contextCreate: instance.export("proxy_on_context_create"),
    newConnection: instance.export("proxy_on_new_connection"),
    downstreamData: instance.export("proxy_on_downstream_data"),
    upstreamData: instance.export("proxy_on_upstream_data"),
    downstreamClose: instance.export("proxy_on_downstream_connection_close"),
    upstreamClose: instance.export("proxy_on_upstream_connection_close"),
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
