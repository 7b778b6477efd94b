/**
 * The place of a plugin in a filter chain: makes the filter of each stream, and decides which version of the plugin that
 * stream has, from its first callback to its last.
 */
import type { HeaderMap } from "../codec/headers.ts";
import type { RateLimitConfig } from "../config/rate-limit-snapshot.ts";
import type { HttpFilter, HttpFilterFactory, StreamView } from "../http/filter.ts";
import type { StreamLogger } from "../observe/access-log.ts";
import type { ConnectionInfo, StreamInfo } from "../observe/stream-info.ts";
import { AbsentFilter } from "./contexts/failure-policy.ts";
import { HttpContext } from "./contexts/http-context.ts";
import type { Plugin } from "./plugin.ts";
import type { HeaderChoice, Routing } from "./routing.ts";
import { ShadowExamples } from "./shadow/examples.ts";
import type { ShadowExample } from "./shadow/examples.ts";
import { ShadowPair } from "./shadow/shadow-pair.ts";

export interface Candidate {
  readonly plugin: Plugin;
  readonly routing: Routing;
  /** What connections have been given, where all streams of one have the same version. */
  readonly chosen: WeakMap<ConnectionInfo, boolean>;
  /** Of a shadow. */
  readonly examples: ShadowExamples;
}

export class PluginFilterFactory implements HttpFilterFactory {
  readonly name: string;
  /** Of every version so far: streams of an older one may still run. */
  phases: number;
  /** Callbacks of every version so far. */
  readonly exports: Set<string>;
  #live: Plugin;
  #candidate: Candidate | null = null;
  /** Replaced together with routes that streams may still have: their configurations are unknown to later versions. */
  #former: readonly Plugin[] = [];

  constructor(plugin: Plugin, phases: number) {
    this.name = plugin.config.filterName;
    this.phases = phases;
    this.exports = new Set(plugin.vm.exports);
    this.#live = plugin;
    for (const one of plugin.all()) one.chooser = this;
  }

  get live(): Plugin {
    return this.#live;
  }

  get candidate(): Plugin | null {
    return this.#candidate?.plugin ?? null;
  }

  /** How the shadow differed last, oldest first. */
  get examples(): readonly ShadowExample[] {
    return this.#candidate?.examples.last ?? [];
  }

  get rateLimits(): readonly RateLimitConfig[] | undefined {
    return this.#live.config.rateLimits;
  }

  create(stream: StreamView): HttpFilter {
    const candidate = this.#candidate;
    if (candidate === null) return this.#filterOf(this.#live, stream);
    const { plugin, routing } = candidate;
    if (routing.kind === "share")
      return this.#filterOf(chosen(candidate, stream, stream.info.connection) ? plugin : this.#live, stream);
    if (Math.random() * 100 >= routing.percent) return this.#filterOf(this.#live, stream);
    return new ShadowPair(
      stream,
      (view) => this.#filterOf(this.#live, view),
      (view) => this.#filterOf(plugin, view),
      { trial: plugin.trial, examples: candidate.examples },
    );
  }

  /** Who serves a connection as a network filter, and who is shown a copy of it. */
  chooseFor(connection: ConnectionInfo): { readonly plugin: Plugin; readonly shadow: Candidate | null } {
    const candidate = this.#candidate;
    if (candidate === null) return { plugin: this.#live, shadow: null };
    const { plugin, routing } = candidate;
    if (routing.kind === "share")
      return { plugin: chosen(candidate, null, connection) ? plugin : this.#live, shadow: null };
    return { plugin: this.#live, shadow: Math.random() * 100 < routing.percent ? candidate : null };
  }

  /** From now on new streams have this version. `held`: those of former routes find the one before, until it is let go. */
  replace(plugin: Plugin, held: boolean): void {
    this.#candidate = null;
    if (held) this.#former = [...this.#former, this.#live];
    this.#live = plugin;
    this.#admit(plugin);
  }

  /** No stream has the routes any more that a former version was for. */
  letGo(plugin: Plugin): void {
    this.#former = this.#former.filter((one) => one !== plugin);
  }

  /** From now on some new streams have (or show themselves to) `plugin`. */
  tryOut(plugin: Plugin, routing: Routing): void {
    const { chosen: known, examples } =
      this.#candidate?.plugin === plugin
        ? this.#candidate
        : { chosen: new WeakMap<ConnectionInfo, boolean>(), examples: new ShadowExamples() };
    this.#candidate = { plugin, routing, chosen: known, examples };
    this.#admit(plugin);
  }

  /** No stream begins with the candidate any more. */
  endTrial(): void {
    this.#candidate = null;
  }

  #filterOf(main: Plugin, stream: StreamView): HttpFilter {
    // The route as it is when the request comes to the filter: a context keeps the root that it was made under.
    const bare = main.routes === null && this.#former.length === 0;
    const plugin = bare ? main : this.#forRoute(main, stream.perRouteConfigId());
    const root = plugin.vm.rootFor(plugin, stream.info.connection);
    if (root === null || root.callbacks === null) return new AbsentFilter(plugin, stream);
    return new HttpContext(root, stream, root.callbacks);
  }

  #forRoute(main: Plugin, id: number): Plugin {
    const own = main.routes?.get(id);
    if (own !== undefined || id === 0) return own ?? main;
    for (const { routes } of this.#former) {
      const former = routes?.get(id);
      if (former !== undefined) return former;
    }
    return main;
  }

  #admit(plugin: Plugin): void {
    for (const one of plugin.all()) one.chooser = this;
    this.phases |= plugin.vm.phases;
    for (const name of plugin.vm.exports) this.exports.add(name);
  }
}

/** A plugin as access logger: its root context hears of each stream, as in Envoy. */
export class PluginLogger implements StreamLogger {
  readonly #place: PluginFilterFactory;

  constructor(place: PluginFilterFactory) {
    this.#place = place;
  }

  /** Records of a connection that goes on are none for a plugin, as in Envoy. */
  log(info: StreamInfo): void {
    if (info.recordType !== "DownstreamEnd" && info.recordType !== "TcpConnectionEnd" && info.recordType !== "NotSet")
      return;
    const plugin = this.#place.live;
    const root = plugin.vm.rootFor(plugin, info.connection);
    if (root === null) {
      plugin.skippedStreams.inc();
      return;
    }
    root.logStream(info);
  }
}

/** `stream`: null for a connection that is a network filter's. */
function chosen({ routing, chosen: known }: Candidate, stream: StreamView | null, connection: ConnectionInfo): boolean {
  if (routing.kind !== "share") return false;
  const { header, percent, sticky } = routing;
  const before = sticky ? known.get(connection) : undefined;
  if (before !== undefined) return before;
  const headers = header === undefined ? null : (stream?.requestHeaders ?? null);
  const share = headers !== null && has(headers, header!) ? header!.percent : percent;
  const choice = Math.random() * 100 < share;
  if (sticky) known.set(connection, choice);
  return choice;
}

function has(headers: HeaderMap, { name, value }: HeaderChoice): boolean {
  return value === undefined ? headers.has(name) : headers.all(name).includes(value);
}
