/** The line of an author's source that a message names, for a terminal. */
import { readFileSync, statSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { MAX_EXCERPT_SOURCE_BYTES } from "../limits.ts";

export interface Excerpt {
  readonly line: number;
  /** From 1. */
  readonly column: number;
  readonly text: string;
}

/** The first place `file:line:column` in a message that lies in the folder; undefined when there is none. */
export function excerptOf(message: string, folder: string): Excerpt | undefined {
  for (const [, path = "", line = "", column = ""] of message.matchAll(/([^\s():]+\.ts):(\d+):(\d+)/g)) {
    // A compiler names files as seen from here, a source map as seen from beside the folder.
    for (const base of [process.cwd(), dirname(folder)]) {
      const file = resolve(base, path);
      if (relative(folder, file).startsWith("..")) continue;
      const text = lineOf(file, Number(line));
      if (text !== undefined) return { line: Number(line), column: Number(column), text };
    }
  }
  return undefined;
}

/** It with its number, and a mark under the column; each at most `width` characters, indentation left out. */
export function excerptLines({ line, column, text }: Excerpt, width: number): string[] {
  const flat = text.replaceAll("\t", " ");
  const indent = /^ */.exec(flat)![0].length;
  const head = `  ${line} | `;
  const room = Math.max(width - head.length, 10);
  const at = Math.max(column - 1 - indent, 0);
  const from = at < room ? 0 : at - Math.floor(room / 2);
  const shown = flat.slice(indent + from, indent + from + room);
  return [`${head}${shown}`, `${" ".repeat(head.length - 2)}| ${" ".repeat(at - from)}^`];
}

function lineOf(file: string, line: number): string | undefined {
  try {
    if (statSync(file).size > MAX_EXCERPT_SOURCE_BYTES) return undefined;
    return readFileSync(file, "utf8").split(/\r?\n/)[line - 1];
  } catch {
    // What the message says stands without it.
    return undefined;
  }
}
