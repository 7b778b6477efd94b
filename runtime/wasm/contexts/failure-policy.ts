/** What becomes of a stream or connection whose filter cannot run: its instance trapped, or none could be started. */
import * as GrpcStatus from "../../../abi/grpc-status.ts";
import type { HttpFilter, LocalReply, StreamView } from "../../http/filter.ts";
import { DataStatus, HeadersStatus, TrailersStatus } from "../../http/filter.ts";
import { NetworkStatus } from "../../network/filter.ts";
import type { FilterView, NetworkFilter } from "../../network/filter.ts";
import type { FailureReason } from "../instance/failure.ts";
import type { Plugin } from "../plugin.ts";

/** Envoy's detail, and why. */
function detailsOf(reason: FailureReason): string {
  return `wasm_fail_stream{${reason}}`;
}

function reply(details: string): LocalReply {
  return { status: 503, body: "", headers: undefined, details, flag: -1, grpcStatus: GrpcStatus.UNAVAILABLE };
}

/** Applies the policy; true: the stream goes on as if the filter were absent, false: it was answered or reset. */
export function applyFailurePolicy(plugin: Plugin, view: StreamView, reason: FailureReason): boolean {
  if (plugin.config.failurePolicy === "FAIL_OPEN") {
    plugin.skippedStreams.inc();
    return true;
  }
  plugin.failedStreams.inc();
  const details = detailsOf(reason);
  if (view.responseStarted || !view.sendLocalReply(reply(details))) view.resetStream(details);
  return false;
}

/** The same for a connection: false, it is being closed. */
export function applyConnectionPolicy(plugin: Plugin, view: FilterView, reason: FailureReason): boolean {
  if (plugin.config.failurePolicy === "FAIL_OPEN") {
    plugin.skippedStreams.inc();
    return true;
  }
  plugin.failedStreams.inc();
  view.close(0, detailsOf(reason));
  return false;
}

/** Stands in for a network filter while no instance of its plugin is up. */
export class AbsentNetworkFilter implements NetworkFilter {
  readonly #plugin: Plugin;
  readonly #view: FilterView;

  constructor(plugin: Plugin, view: FilterView) {
    this.#plugin = plugin;
    this.#view = view;
    plugin.trial?.failed(plugin);
  }

  onNewConnection(): number {
    return applyConnectionPolicy(this.#plugin, this.#view, this.#plugin.vm.refusal)
      ? NetworkStatus.CONTINUE
      : NetworkStatus.STOP;
  }
  onData(): number {
    return NetworkStatus.CONTINUE;
  }
  onWrite(): number {
    return NetworkStatus.CONTINUE;
  }
  onClose(): void {}
}

/** Stands in for a filter while no instance of its plugin is up. */
export class AbsentFilter implements HttpFilter {
  readonly phases: number;
  readonly #plugin: Plugin;
  readonly #view: StreamView;
  #applied = false;

  constructor(plugin: Plugin, view: StreamView) {
    this.#plugin = plugin;
    this.#view = view;
    this.phases = plugin.vm.phases;
    plugin.trial?.failed(plugin);
  }

  /** 0 when the stream goes on. */
  #outcome(): 0 | 1 {
    if (this.#applied) return 0;
    this.#applied = true;
    return applyFailurePolicy(this.#plugin, this.#view, this.#plugin.vm.refusal) ? 0 : 1;
  }

  onRequestHeaders(): number {
    return HeadersStatus.STOP_ALL_AND_WATERMARK * this.#outcome();
  }
  onRequestData(): number {
    return DataStatus.STOP_NO_BUFFER * this.#outcome();
  }
  onRequestTrailers(): number {
    return TrailersStatus.STOP * this.#outcome();
  }
  onResponseHeaders(): number {
    return HeadersStatus.STOP_ALL_AND_WATERMARK * this.#outcome();
  }
  onResponseData(): number {
    return DataStatus.STOP_NO_BUFFER * this.#outcome();
  }
  onResponseTrailers(): number {
    return TrailersStatus.STOP * this.#outcome();
  }
  onLog(): void {}
  onDestroy(): void {}
}
