/** What the builders of one load share: problems, names to check against, and the lists they fill. */
import { createHash } from "node:crypto";

import { MAX_ROUTE_CONFIGURATIONS, MAX_TIMER_MS } from "../../limits.ts";
import { checkFormat } from "../../observe/format.ts";
import { durationMillis, type Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import type { Problems } from "../problem.ts";
import { regexProblem } from "../rules/regex.ts";
import type { Schema } from "../schema/schema.ts";
import type { PluginConfig, RouteConfiguration } from "../snapshot.ts";

/** A bundled filter, by the full name of its configuration message. */
export type BundledFilters = Readonly<Record<string, { readonly name: string; readonly module: string }>>;

/** Guests take ids for signed or unsigned numbers as they like. */
const LAST_ID = 0x7fff_ffff;

/** Carried through every builder of one load. */
export class BuildContext {
  readonly problems: Problems;
  readonly schema: Schema;
  readonly bundled: BundledFilters;
  readonly clusters: ReadonlySet<string>;
  /** Names of the listeners, in their order. */
  readonly #listeners: readonly string[];
  /** `static_resources.secrets` by name. */
  readonly secrets: ReadonlyMap<string, Message>;
  readonly plugins: PluginConfig[] = [];
  readonly #routeConfigurations = new Map<number, RouteConfiguration[]>();
  readonly #overrideIds = new Set<number>();

  constructor(given: {
    problems: Problems;
    schema: Schema;
    bundled: BundledFilters;
    clusters: ReadonlySet<string>;
    listeners: readonly string[];
    secrets: readonly Message[];
  }) {
    this.problems = given.problems;
    this.schema = given.schema;
    this.bundled = given.bundled;
    this.clusters = given.clusters;
    this.#listeners = given.listeners;
    this.secrets = new Map(given.secrets.map((secret) => [secret.text("name"), secret]));
  }

  /** True when a bundled filter of this kind has configurations of this type. */
  isBundled(type: string, kind: "http" | "network"): boolean {
    return type.startsWith(`envoy.extensions.filters.${kind}.`) && Object.hasOwn(this.bundled, type);
  }

  /** A problem with a field of a message, or, with the name "", with the message itself. */
  error(message: Message, field: string, rule: string, text: string): void {
    this.problems.error(message.spot(field), field === "" ? message.path : message.pathOf(field), rule, text);
  }

  /** A problem with one member of a list. */
  itemError(message: Message, field: string, index: number, what: { rule: string; text: string }): void {
    const at = message.slots.get(field)?.spots[index] ?? message.spot(field);
    this.problems.error(at, `${message.pathOf(field)}[${index}]`, what.rule, what.text);
  }

  warn(message: Message, field: string, rule: string, text: string): void {
    this.problems.warn(message.spot(field), field === "" ? message.path : message.pathOf(field), rule, text);
  }

  unsupported(message: Message, field: string, what: string): void {
    this.error(message, field, "not-supported", `not supported yet: ${what}`);
  }

  /** The message that a filter is configured with; undefined when there is none to be used, which is reported. */
  typedConfig(filter: Message): { readonly type: string; readonly config: Message } | undefined {
    const any = filter.message("typed_config");
    if (any === undefined || any.anyType === "") {
      if (!filter.has("config_discovery") && !filter.hasFailed("typed_config"))
        this.error(filter, "typed_config", "any", `typed_config with "@type" is missing`);
      return undefined;
    }
    return any.any === undefined ? undefined : { type: any.anyType, config: any.any };
  }

  /** Reports a type that is no such filter here: one of Envoy's, under `prefix`, is not there yet. */
  unknownFilter(filter: Message, type: string, kind: "network filter" | "listener filter", prefix: string): void {
    if (type.startsWith(prefix)) this.unsupported(filter, "typed_config", `the ${kind} ${type}`);
    else this.error(filter, "typed_config", "any", `${type} is not a ${kind}`);
  }

  /** Where a message stands, in words that hold when listeners come and go beside its own. */
  placeOf({ path }: Message): string {
    return path.replace(
      /^static_resources\.listeners\[(\d+)\]/,
      (_, index) => `listener ${this.#listeners[Number(index)]}`,
    );
  }

  /** Takes a plugin; returns its index in {@link plugins}. Routes may add configurations to it later. */
  addPlugin(plugin: PluginConfig): number {
    const routeConfigurations: RouteConfiguration[] = [];
    const index = this.plugins.push(plugin.bundled ? plugin : { ...plugin, routeConfigurations }) - 1;
    this.#routeConfigurations.set(index, routeConfigurations);
    return index;
  }

  /** The id of a plugin's configuration on a route, the same for the same bytes; undefined when it has too many. */
  routeConfiguration(plugin: number, bytes: Uint8Array): number | undefined {
    const known = this.#routeConfigurations.get(plugin) ?? [];
    const same = known.find((one) => Buffer.compare(one.bytes, bytes) === 0);
    if (same !== undefined) return same.id;
    if (known.length >= MAX_ROUTE_CONFIGURATIONS) return undefined;
    // By its bytes alone: a plugin that moves among the others has the same configurations.
    const id = freeId("", bytes, (one) => known.some((other) => other.id === one));
    known.push({ id, bytes });
    return id;
  }

  /**
   * The id of a per-route configuration: one of its own in this load, never 0, and the same in later loads for as long as
   * `place` and bytes are, so that what a guest keeps under it, or a stream chose by it, goes on to be right.
   */
  overrideId(place: string, bytes: Uint8Array): number {
    const id = freeId(place, bytes, (one) => this.#overrideIds.has(one));
    this.#overrideIds.add(id);
    return id;
  }

  /** Milliseconds of a Duration field that serves as a timer. */
  millis(message: Message, field: string, unset: number): number {
    const duration = message.message(field);
    if (duration === undefined) return unset;
    const millis = durationMillis(duration);
    if (millis < 0) this.error(message, field, "duration", "must not be negative");
    return millis;
  }

  /** The same for a timer: a time that none can wait for is as good as never, and must not become "at once". */
  timerMillis(message: Message, field: string, unset: number): number {
    return Math.min(this.millis(message, field, unset), MAX_TIMER_MS);
  }

  enumName(message: Message, field: string): string {
    const type = message.type.byName.get(field);
    return this.schema.enum(type?.typeName ?? "")?.byNumber.get(message.number(field)) ?? "";
  }

  /** The name of a cluster that must be there. */
  cluster(message: Message, field: string): string {
    const name = message.text(field);
    if (name !== "" && !this.clusters.has(name)) {
      this.error(
        message,
        field,
        "unknown-cluster",
        `route: unknown cluster '${name}'${didYouMean(name, this.clusters)}`,
      );
    }
    return name;
  }

  format(message: Message, field: string, text: string): string {
    const problem = checkFormat(text);
    if (problem !== undefined) this.error(message, field, "format", problem);
    return text;
  }

  regex(message: Message, field: string): string {
    const pattern = message.text(field);
    const problem = regexProblem(pattern);
    if (problem !== undefined) this.error(message, field, "regex", `not a regular expression (RE2): ${problem}`);
    return pattern;
  }

  /** A header name in lower case. */
  header(message: Message, field: string): string {
    const name = message.text(field);
    if (name !== "" && !isHeaderName(name))
      this.error(message, field, "header-name", `${JSON.stringify(name)} is not a header name`);
    return name.toLowerCase();
  }

  /** A list of header names, in lower case. */
  headers(message: Message, field: string): string[] {
    return message.texts(field).map((name, index) => {
      if (!isHeaderName(name))
        this.itemError(message, field, index, {
          rule: "header-name",
          text: `${JSON.stringify(name)} is not a header name`,
        });
      return name.toLowerCase();
    });
  }
}

/** From 1 on; the same for the same place and bytes as long as nobody else has it. */
function freeId(place: string, bytes: Uint8Array, taken: (id: number) => boolean): number {
  const digest = createHash("sha256").update(place).update("\0").update(bytes).digest();
  let id = digest.readUInt32LE(0) & LAST_ID || 1;
  while (taken(id)) id = id === LAST_ID ? 1 : id + 1;
  return id;
}

function isHeaderName(name: string): boolean {
  return /^:?[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name);
}
