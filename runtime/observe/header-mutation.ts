/** Headers that routes and tunnels add and remove: values are format strings, compiled once. */
import type { HeaderMap } from "../codec/headers.ts";
import type { HeaderMutation, HeaderValueOption } from "../config/snapshot.ts";
import { compileFormat, type Format } from "./format.ts";
import type { StreamInfo } from "./stream-info.ts";

interface Addition {
  readonly name: string;
  readonly action: HeaderValueOption["action"];
  readonly value: Format;
  readonly keepEmpty: boolean;
}

/** The mutations of one level of configuration. */
export class CompiledMutation {
  readonly #remove: readonly string[];
  readonly #add: readonly Addition[];

  constructor(config: HeaderMutation) {
    this.#remove = config.remove;
    this.#add = config.add.map((option) => ({
      name: option.name,
      action: option.action,
      value: compileFormat(option.value, { omitEmptyValues: true, target: "header" }),
      keepEmpty: option.keepEmptyValue,
    }));
  }

  /** Removals first; all values are rendered before the first one is written, and overwrites come before additions. */
  apply(headers: HeaderMap, info: StreamInfo): void {
    for (const name of this.#remove) headers.remove(name);
    const additions = this.#add;
    if (additions.length === 0) return;
    const values = additions.map((addition) => this.#valueOf(addition, headers, info));
    for (const [index, value] of values.entries()) {
      if (value !== undefined && overwrites(additions[index]!)) headers.set(additions[index]!.name, value);
    }
    for (const [index, value] of values.entries()) {
      if (value !== undefined && !overwrites(additions[index]!)) headers.add(additions[index]!.name, value);
    }
  }

  /** The value to write; undefined when this addition does not apply. */
  #valueOf(addition: Addition, headers: HeaderMap, info: StreamInfo): string | undefined {
    const value = addition.value(info);
    if (value === "" && !addition.keepEmpty) return undefined;
    switch (addition.action) {
      case "ADD_IF_ABSENT":
        return headers.has(addition.name) ? undefined : value;
      case "OVERWRITE_IF_EXISTS":
        return headers.has(addition.name) ? value : undefined;
      case "APPEND_IF_EXISTS_OR_ADD":
      case "OVERWRITE_IF_EXISTS_OR_ADD":
        return value;
    }
  }
}

function overwrites(addition: Addition): boolean {
  return addition.action === "OVERWRITE_IF_EXISTS" || addition.action === "OVERWRITE_IF_EXISTS_OR_ADD";
}

const compiled = new WeakMap<HeaderMutation, CompiledMutation>();

/** Compiles the levels that mutate anything, in the order given; null when none does. */
export function compileMutations(levels: readonly HeaderMutation[]): readonly CompiledMutation[] | null {
  const found: CompiledMutation[] = [];
  for (const level of levels) {
    if (level.add.length === 0 && level.remove.length === 0) continue;
    // Levels are shared by many routes: each is compiled once.
    let mutation = compiled.get(level);
    if (mutation === undefined) compiled.set(level, (mutation = new CompiledMutation(level)));
    found.push(mutation);
  }
  return found.length === 0 ? null : found;
}
