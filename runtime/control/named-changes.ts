/** What becomes of things that have names, from one configuration to the next. */
import { sameConfig } from "../config/same.ts";

/** Names; those of things that stay as they are stand nowhere. */
export interface NamedChanges {
  readonly added: readonly string[];
  readonly modified: readonly string[];
  readonly removed: readonly string[];
}

interface Named {
  readonly name: string;
}

export function namedChanges(before: readonly Named[], after: readonly Named[]): NamedChanges {
  const known = new Map(before.map((one) => [one.name, one]));
  const names = new Set(after.map(({ name }) => name));
  const others = after.filter((one) => !sameConfig(known.get(one.name), one)).map(({ name }) => name);
  return {
    added: others.filter((name) => !known.has(name)),
    modified: others.filter((name) => known.has(name)),
    removed: before.map(({ name }) => name).filter((name) => !names.has(name)),
  };
}
