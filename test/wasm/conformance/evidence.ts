/** How the entries of the checklist say what shows a behaviour. */

/** A test, by its file and its title. */
interface Shown {
  readonly kind: "test";
  readonly file: string;
  readonly title: string;
}
/** A case in the tables of host functions. */
interface Tabled {
  readonly kind: "case";
  readonly name: string;
  readonly title: string;
}
/** We do it differently: words of the README's differences. */
interface Different {
  readonly kind: "difference";
  readonly words: string;
}
export type Evidence = Shown | Tabled | Different;
/** Number, behaviour, and what shows it. */
export type Entry = readonly [number: number, behaviour: string, ...evidence: readonly [Evidence, ...Evidence[]]];

/** Cases that every function has, by what it takes. */
export const MADE = {
  sets: "members of no set",
  pointers: "bad pointers",
  root: "in a root context",
  log: "in the log phase",
  works: "works",
} as const;

/** `file`: below `test`; a test file unless it says another ending. */
export function shown(file: string, title: string): Shown {
  return { kind: "test", file: `test/${file}${file.endsWith(".ts") ? "" : ".test.ts"}`, title };
}
export function of(file: string): (title: string) => Shown {
  return (title) => shown(file, title);
}
export function tabled(name: string, title: string): Tabled {
  return { kind: "case", name, title };
}
export function different(words: string): Different {
  return { kind: "difference", words };
}
