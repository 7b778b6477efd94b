/**
 * What the metadata `envoy.lb` of a host must say: `metadata_match` of routes and of tcp_proxy, with what filters left
 * in dynamic metadata. One object for each place of the configuration, so that clusters can remember what it leads to.
 */

import type { Host } from "./host.ts";

/** The namespace of metadata that balancers read. */
export const LB_NAMESPACE = "envoy.lb";

type Fields = Readonly<Record<string, unknown>>;

export class MetadataMatch {
  readonly fields: Fields;

  private constructor(fields: Fields) {
    this.fields = fields;
  }

  /** Of metadata that lie upon each other, the last one on top; null when there is none at all. */
  static of(...layers: readonly (Fields | undefined)[]): MetadataMatch | null {
    const present = layers.filter((layer) => layer !== undefined);
    return present.length === 0 ? null : new MetadataMatch(Object.assign(Object.create(null), ...present) as Fields);
  }

  /** The same with fields that come on top. */
  with(fields: Fields): MetadataMatch {
    return new MetadataMatch(Object.assign(Object.create(null), this.fields, fields) as Fields);
  }

  /** What is left when only some keys count. */
  only(wanted: (key: string) => boolean): MetadataMatch {
    const kept = Object.entries(this.fields).filter(([key]) => wanted(key));
    return new MetadataMatch(Object.assign(Object.create(null), Object.fromEntries(kept)) as Fields);
  }
}

/** Sorted keys as one text. */
export function keysText(keys: readonly string[]): string {
  return JSON.stringify(keys);
}

/** Keys with their values as one text, the same for equal ones; the pairs must be sorted by key. */
export function pairsText(pairs: readonly (readonly [string, unknown])[]): string {
  return JSON.stringify(pairs, sortedObject);
}

/** Whether a host's metadata have all of some fields. `listAsAny`: a list has each of its members. */
export function hasMetadata({ lbMetadata }: Pick<Host, "lbMetadata">, wanted: Fields, listAsAny: boolean): boolean {
  return Object.entries(wanted).every(([key, value]) => {
    if (lbMetadata === undefined || !Object.hasOwn(lbMetadata, key)) return false;
    const own = lbMetadata[key];
    if (listAsAny && Array.isArray(own)) return own.some((one) => sameValue(one, value));
    return sameValue(own, value);
  });
}

function sameValue(a: unknown, b: unknown): boolean {
  return JSON.stringify(a, sortedObject) === JSON.stringify(b, sortedObject);
}

function sortedObject(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
