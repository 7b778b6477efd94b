/**
 * Two versions of a network filter on one connection: the live one serves it, the shadow is shown a copy first, and what
 * they let through, and whether they closed it, is compared when the connection is over.
 */
import type { BodyBuffer } from "../../codec/body.ts";
import type { FilterView, NetworkFilter } from "../../network/filter.ts";
import { compareConnections } from "./decision.ts";
import { LiveConnection } from "./live-connection.ts";
import { ShadowConnection } from "./shadow-connection.ts";
import type { Outcomes } from "./shadow-pair.ts";

export class ConnectionPair implements NetworkFilter {
  readonly #live: NetworkFilter;
  readonly #shadow: NetworkFilter;
  readonly #liveView: LiveConnection;
  readonly #view: ShadowConnection;
  readonly #outcomes: Outcomes;

  constructor(
    connection: FilterView,
    makeLive: (view: FilterView) => NetworkFilter,
    makeShadow: (view: FilterView) => NetworkFilter,
    outcomes: Outcomes,
  ) {
    this.#liveView = new LiveConnection(connection);
    this.#view = new ShadowConnection(connection);
    this.#live = makeLive(this.#liveView);
    this.#shadow = makeShadow(this.#view);
    this.#outcomes = outcomes;
  }

  onNewConnection(): number {
    this.#view.reads.answered(() => this.#shadow.onNewConnection());
    return this.#live.onNewConnection();
  }

  onData(bytes: BodyBuffer, endStream: boolean): number {
    const { reads } = this.#liveView;
    if (this.#shown(this.#view.reads.cut)) {
      const fresh = bytes.bytes().subarray(reads.heldBytes);
      this.#view.reads.show((held, end) => this.#shadow.onData(held, end), fresh, endStream);
    }
    return reads.call(() => this.#live.onData(bytes, endStream), bytes, endStream);
  }

  onWrite(bytes: BodyBuffer, endStream: boolean): number {
    const { writes } = this.#liveView;
    if (this.#shown(this.#view.writes.cut)) {
      const fresh = bytes.bytes().subarray(writes.heldBytes);
      this.#view.writes.show((held, end) => this.#shadow.onWrite(held, end), fresh, endStream);
    }
    return writes.call(() => this.#live.onWrite(bytes, endStream), bytes, endStream);
  }

  onWritable(): void {
    this.#live.onWritable?.();
  }

  onClose(local: boolean): void {
    this.#view.refresh();
    const waits = this.#view.waits;
    this.#shadow.onClose(local);
    this.#live.onClose(local);
    const { trial, examples } = this.#outcomes;
    if (trial === null) return;
    const difference = compareConnections(this.#liveView.decision, this.#view.decision, waits);
    trial.shadowed(difference);
    if (difference.kinds.length > 0) examples.add(`connection ${this.#view.info.id}`, difference.text);
  }

  #shown(cut: boolean): boolean {
    if (cut || this.#view.decision.reset) return false;
    this.#view.refresh();
    return true;
  }
}
