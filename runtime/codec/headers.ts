/**
 * The header map of the whole host: ordered, duplicates allowed, names in lower case, values as
 * latin-1 strings (one character per byte on the wire). Pseudo-headers (`:method`, `:path`,
 * `:authority`, `:scheme`, `:status`) are entries like any other and stand first.
 *
 * One flat array keeps a message at one allocation per header string and makes copying a `slice`.
 */

const EMPTY: readonly string[] = [];

export class HeaderMap {
  /** name, value, name, value, … The codec writes it directly; others use the methods. */
  list: string[];

  constructor(list: string[] = []) {
    this.list = list;
  }

  /** Number of header fields. */
  get size(): number {
    return this.list.length >> 1;
  }

  /** The first value of `name` (lower case), or undefined when absent. */
  get(name: string): string | undefined {
    const list = this.list;
    for (let at = 0; at < list.length; at += 2) if (list[at] === name) return list[at + 1];
    return undefined;
  }

  has(name: string): boolean {
    const list = this.list;
    for (let at = 0; at < list.length; at += 2) if (list[at] === name) return true;
    return false;
  }

  /** Every value of `name` in order. */
  all(name: string): readonly string[] {
    const list = this.list;
    let found: string[] | undefined;
    for (let at = 0; at < list.length; at += 2) {
      if (list[at] === name) (found ??= []).push(list[at + 1]!);
    }
    return found ?? EMPTY;
  }

  /** Every value of `name` joined with `,`, as header matchers see it; undefined when absent. */
  joined(name: string): string | undefined {
    const list = this.list;
    let text: string | undefined;
    for (let at = 0; at < list.length; at += 2) {
      if (list[at] === name) text = text === undefined ? list[at + 1] : `${text},${list[at + 1]}`;
    }
    return text;
  }

  /** Appends a field; existing ones of the same name stay. */
  add(name: string, value: string): void {
    this.list.push(name, value);
  }

  /** Leaves exactly one field `name`, at the place of the first one if there was any. */
  set(name: string, value: string): void {
    const list = this.list;
    for (let at = 0; at < list.length; at += 2) {
      if (list[at] === name) {
        list[at + 1] = value;
        this.#removeFrom(at + 2, name);
        return;
      }
    }
    list.push(name, value);
  }

  /** Removes every field `name`; returns how many there were. */
  remove(name: string): number {
    return this.#removeFrom(0, name);
  }

  /** Becomes `list`: name, value, … with pseudo-headers first. */
  replaceAll(list: string[]): void {
    this.list = list;
  }

  /** Removes all fields. */
  clear(): void {
    this.list.length = 0;
  }

  clone(): HeaderMap {
    return new HeaderMap(this.list.slice());
  }

  /** Sum of the lengths of all names and values in bytes (Envoy: `HeaderMap::byteSize`). */
  byteSize(): number {
    let bytes = 0;
    for (const text of this.list) bytes += text.length;
    return bytes;
  }

  #removeFrom(start: number, name: string): number {
    const list = this.list;
    let to = start;
    while (to < list.length && list[to] !== name) to += 2;
    if (to >= list.length) return 0;
    let removed = 0;
    for (let at = to; at < list.length; at += 2) {
      if (list[at] === name) {
        removed++;
        continue;
      }
      list[to] = list[at]!;
      list[to + 1] = list[at + 1]!;
      to += 2;
    }
    list.length = to;
    return removed;
  }
}
