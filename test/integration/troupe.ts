/**
 * Puppets in the real engine: each filter of the chain is a real module in the real Wasm host, watched from both
 * sides. A troupe counts what the engine owes each filter, and every deadline that anything has armed.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { BodyBuffer } from "../../runtime/codec/body.ts";
import type { HeaderMap } from "../../runtime/codec/headers.ts";
import type { HttpFilter, HttpFilterFactory, StreamView } from "../../runtime/http/filter.ts";
import { Deadline } from "../../runtime/timers.ts";
import type { PluginConfig } from "../../runtime/config/snapshot.ts";
import type { Upstreams } from "../../runtime/upstream/request.ts";
import { Plugin } from "../../runtime/wasm/plugin.ts";
import { PluginFilterFactory } from "../../runtime/wasm/plugin-factory.ts";
import { HttpContext } from "../../runtime/wasm/contexts/http-context.ts";
import { Engine } from "../http/engine.ts";
import type { EngineOptions } from "../http/engine.ts";
import type { Puppet } from "../wasm/puppet.ts";
import { Stage } from "../wasm/stage.ts";

/** Every deadline that was armed since {@link watchDeadlines}. */
const seenDeadlines = new Set<Deadline>();
const arm = Deadline.prototype.arm;
Deadline.prototype.arm = function (ms: number): void {
  seenDeadlines.add(this);
  arm.call(this, ms);
};

/** Deadlines that wait now. */
export function armedDeadlines(): Deadline[] {
  for (const one of seenDeadlines) if (!one.armed) seenDeadlines.delete(one);
  return [...seenDeadlines];
}

/** Seconds after which something will not happen any more, on the slowest machine. */
const PATIENCE_S = 60;

/** Waits, as long as it has to on a slow machine, for `test` to hold; what follows asserts it. */
export async function until(test: () => boolean): Promise<void> {
  for (const end = process.uptime() + PATIENCE_S; !test() && process.uptime() < end;) await sleep(1);
}

/** What the engine did to one filter of one stream. */
export interface Life {
  readonly filter: number;
  logs: number;
  destroys: number;
  /** Callbacks after the end, which must not be. */
  late: string[];
}

class WatchedFilter implements HttpFilter {
  readonly #inner: HttpFilter;
  readonly #life: Life;
  readonly #onId: (id: number) => void;

  constructor(inner: HttpFilter, life: Life, onId: (id: number) => void) {
    this.#inner = inner;
    this.#life = life;
    this.#onId = onId;
  }
  #call(name: string, run: () => number): number {
    if (this.#life.destroys + this.#life.logs > 0) this.#life.late.push(name);
    const result = run();
    if (this.#inner instanceof HttpContext) this.#onId(this.#inner.id);
    return result;
  }
  onRequestHeaders(headers: HeaderMap, endStream: boolean): number {
    return this.#call("request headers", () => this.#inner.onRequestHeaders(headers, endStream));
  }
  onRequestData(body: BodyBuffer, endStream: boolean): number {
    return this.#call("request data", () => this.#inner.onRequestData(body, endStream));
  }
  onRequestTrailers(trailers: HeaderMap): number {
    return this.#call("request trailers", () => this.#inner.onRequestTrailers(trailers));
  }
  onResponseHeaders(headers: HeaderMap, endStream: boolean): number {
    return this.#call("response headers", () => this.#inner.onResponseHeaders(headers, endStream));
  }
  onResponseData(body: BodyBuffer, endStream: boolean): number {
    return this.#call("response data", () => this.#inner.onResponseData(body, endStream));
  }
  onResponseTrailers(trailers: HeaderMap): number {
    return this.#call("response trailers", () => this.#inner.onResponseTrailers(trailers));
  }
  onLog(): void {
    this.#life.logs++;
    this.#inner.onLog();
  }
  onDestroy(): void {
    this.#life.destroys++;
    this.#inner.onDestroy();
  }
}

class WatchedFactory implements HttpFilterFactory {
  readonly name: string;
  readonly phases: number;
  readonly #inner: HttpFilterFactory;
  readonly #stage: Stage;
  readonly #index: number;
  readonly #lives: Life[];
  readonly #contextCell: number;

  constructor(inner: HttpFilterFactory, stage: Stage, index: number, lives: Life[], contextCell: number) {
    this.name = `puppet-${index}`;
    this.phases = inner.phases;
    this.#inner = inner;
    this.#stage = stage;
    this.#index = index;
    this.#lives = lives;
    this.#contextCell = contextCell;
  }

  create(stream: StreamView): HttpFilter {
    const life: Life = { filter: this.#index, logs: 0, destroys: 0, late: [] };
    this.#lives.push(life);
    return new WatchedFilter(this.#inner.create(stream), life, (id) => {
      if (this.#contextCell !== 0 && this.#stage.plugin.root !== null) this.#stage.poke(this.#contextCell, id);
    });
  }
}

/** One filter of the chain. */
export interface Part {
  readonly puppet: Puppet;
  readonly config?: Partial<PluginConfig>;
  /** A cell of the puppet that always holds the id of the last stream context, for `proxy_set_effective_context`. */
  readonly contextCell?: number;
  /** The chain has this part twice, as two plugins in one VM. */
  readonly twice?: boolean;
}

export interface TroupeOptions extends EngineOptions {
  /** Clusters that guests may call. */
  readonly upstreams?: Upstreams;
}

export class Troupe {
  readonly engine: Engine;
  readonly stages: readonly Stage[];
  readonly lives: Life[];

  private constructor(engine: Engine, stages: readonly Stage[], lives: Life[]) {
    this.engine = engine;
    this.stages = stages;
    this.lives = lives;
  }

  static async start(parts: readonly Part[], options: TroupeOptions): Promise<Troupe> {
    const lives: Life[] = [];
    const filters: HttpFilterFactory[] = [];
    const stages = parts.map((part) => {
      const stage = new Stage(part.puppet, {
        ...(part.config === undefined ? {} : { config: part.config }),
        ...(options.upstreams === undefined ? {} : { upstreams: options.upstreams }),
      });
      const { vm, plugin, stats, factory } = stage;
      const add = (inner: HttpFilterFactory): number =>
        filters.push(new WatchedFactory(inner, stage, filters.length, lives, part.contextCell ?? 0));
      add(factory);
      if (part.twice === true) {
        const second = new Plugin(plugin.config, vm, stats);
        vm.plugins.push(second);
        add(new PluginFilterFactory(second, factory.phases));
      }
      vm.start();
      part.puppet.live = stage.instance.memory;
      return stage;
    });
    return new Troupe(await Engine.start({ ...options, filters }), stages, lives);
  }

  /** Drops what the test keeps of finished streams. */
  forget(): void {
    this.lives.length = 0;
    this.engine.finished.length = 0;
    armedDeadlines();
  }

  gauge(name: string): number {
    return this.engine.stats.gauge(name).value;
  }

  /** Waits for the last connection to be gone, then asserts. */
  async quiet(clusterName = "up"): Promise<void> {
    const busy = ["http.test.downstream_cx_active", `cluster.${clusterName}.upstream_rq_active`];
    await until(() => busy.every((name) => this.gauge(name) === 0));
    this.assertQuiet(clusterName);
  }

  /** What must hold once every downstream connection has gone: nothing under way, each filter ended once. */
  assertQuiet(clusterName = "up"): void {
    for (const life of this.lives)
      assert.deepEqual({ ...life, filter: 0 }, { filter: 0, logs: 1, destroys: 1, late: [] });
    const gauges = [
      "http.test.downstream_rq_active",
      "http.test.downstream_cx_active",
      "http.test.downstream_cx_http1_active",
      `cluster.${clusterName}.upstream_rq_active`,
      `cluster.${clusterName}.upstream_rq_pending_active`,
    ];
    for (const name of gauges) assert.equal(this.gauge(name), 0, name);
  }

  close(): void {
    this.engine.close();
    assert.equal(this.gauge("cluster.up.upstream_cx_active"), 0);
    for (const stage of this.stages) stage.vm.close();
  }
}
