/** The place of a plugin in a chain of network filters: a connection has one version of it for as long as it lasts. */
import type { BodyBuffer } from "../codec/body.ts";
import { NetworkStatus } from "../network/filter.ts";
import type { FilterView, NetworkFilter, PassingFilterFactory } from "../network/filter.ts";
import { AbsentNetworkFilter } from "./contexts/failure-policy.ts";
import { NetworkContext } from "./contexts/network-context.ts";
import type { Plugin } from "./plugin.ts";
import type { PluginFilterFactory } from "./plugin-factory.ts";
import { ConnectionPair } from "./shadow/connection-pair.ts";

const READ_CALLBACK = "proxy_on_downstream_data";
/** The end of what comes from upstream is told by the second. */
const WRITE_CALLBACKS = ["proxy_on_upstream_data", "proxy_on_upstream_connection_close"];

/** Makes the network filter of each connection from a plugin. */
export class PluginNetworkFactory implements PassingFilterFactory {
  readonly name: string;
  readonly terminal = false;
  readonly #place: PluginFilterFactory;

  constructor(place: PluginFilterFactory) {
    this.name = place.name;
    this.#place = place;
  }

  /** Some version has such a callback; to others the call is nothing. */
  get reads(): boolean {
    return this.#place.exports.has(READ_CALLBACK);
  }
  get writes(): boolean {
    return WRITE_CALLBACKS.some((name) => this.#place.exports.has(name));
  }

  create(connection: FilterView): NetworkFilter {
    return new PluginConnection(this.#place, connection);
  }
}

/** Takes an instance only when the connection comes to its place in the chain: others have to tell of its end as well. */
class PluginConnection implements NetworkFilter {
  readonly #place: PluginFilterFactory;
  readonly #view: FilterView;
  #filter: NetworkFilter | null = null;

  constructor(place: PluginFilterFactory, view: FilterView) {
    this.#place = place;
    this.#view = view;
  }

  onNewConnection(): number {
    const { plugin, shadow } = this.#place.chooseFor(this.#view.info);
    this.#filter =
      shadow === null
        ? filterOf(plugin, this.#view)
        : new ConnectionPair(
            this.#view,
            (view) => filterOf(plugin, view),
            (view) => filterOf(shadow.plugin, view),
            { trial: shadow.plugin.trial, examples: shadow.examples },
          );
    return this.#filter.onNewConnection();
  }
  onData(bytes: BodyBuffer, endStream: boolean): number {
    return this.#filter === null ? NetworkStatus.CONTINUE : this.#filter.onData(bytes, endStream);
  }
  onWrite(bytes: BodyBuffer, endStream: boolean): number {
    return this.#filter === null ? NetworkStatus.CONTINUE : this.#filter.onWrite(bytes, endStream);
  }
  onClose(local: boolean): void {
    this.#filter?.onClose(local);
  }
}

function filterOf(plugin: Plugin, view: FilterView): NetworkFilter {
  const root = plugin.vm.rootFor(plugin, view.info);
  return root === null || root.callbacks === null
    ? new AbsentNetworkFilter(plugin, view)
    : new NetworkContext(root, view, root.callbacks);
}
