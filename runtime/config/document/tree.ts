/**
 * YAML or JSON text as a tree of maps, lists and scalars that all know their place. JSON is read as the YAML
 * that it is. Aliases and merge keys are resolved here, within bounds.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseAllDocuments,
  type Alias,
  type Document,
  type ParsedNode,
  type Scalar,
  type YAMLMap,
} from "yaml";

import { MAX_CONFIG_BYTES, MAX_CONFIG_DEPTH, MAX_CONFIG_NODES } from "../../limits.ts";
import type { Problems, Source, Spot } from "../problem.ts";

export type Tree = MapTree | ListTree | ScalarTree;
export interface MapTree {
  readonly kind: "map";
  readonly at: Spot;
  readonly entries: readonly { readonly key: string; readonly at: Spot; readonly value: Tree }[];
}
export interface ListTree {
  readonly kind: "list";
  readonly at: Spot;
  readonly items: readonly Tree[];
}
export interface ScalarTree {
  readonly kind: "scalar";
  readonly at: Spot;
  readonly value: string | number | boolean | null;
  /** As written, for numbers that do not fit a double. */
  readonly text: string;
}

/** Reads one document; undefined when the text cannot be read (the problems tell why). */
export function parseTree(source: Source, problems: Problems): Tree | undefined {
  const start: Spot = { source, offset: 0 };
  if (source.text.length > MAX_CONFIG_BYTES) {
    problems.error(start, "", "size", `the text is longer than ${MAX_CONFIG_BYTES} bytes`);
    return undefined;
  }
  try {
    const documents = parseAllDocuments(source.text, { prettyErrors: false, uniqueKeys: true, version: "1.2" });
    const parsed = Array.isArray(documents) ? documents : [];
    const document = parsed[0];
    if (document === undefined) return { kind: "map", at: start, entries: [] };
    const second = parsed[1];
    if (second !== undefined)
      problems.error(
        { source, offset: second.range[0] },
        "",
        "syntax",
        "only one YAML document is read; remove the rest",
      );
    for (const error of document.errors) {
      const twice = error.code === "DUPLICATE_KEY";
      problems.error(
        { source, offset: error.pos[0] },
        "",
        "syntax",
        twice ? "the key stands twice in this map; remove one" : error.message,
      );
      // What follows a syntax error is mostly its echo.
      if (!twice) return undefined;
    }
    return document.contents === null
      ? { kind: "map", at: start, entries: [] }
      : new TreeBuilder(source, document).build(document.contents, 0);
  } catch (error) {
    if (error instanceof TooMuch) problems.error(error.at, "", "size", error.message);
    // The parser is recursive: text that nests deep enough exhausts the stack.
    else if (error instanceof RangeError)
      problems.error(start, "", "size", `nested deeper than ${MAX_CONFIG_DEPTH} levels`);
    else throw error;
    return undefined;
  }
}

class TooMuch extends Error {
  readonly at: Spot;
  constructor(at: Spot, message: string) {
    super(message);
    this.at = at;
  }
}

class TreeBuilder {
  readonly #source: Source;
  readonly #document: Document.Parsed;
  /** Nodes by anchor, in the order of the text: a later anchor of the same name replaces the earlier one. */
  readonly #anchors = new Map<string, ParsedNode>();
  #nodes = 0;

  constructor(source: Source, document: Document.Parsed) {
    this.#source = source;
    this.#document = document;
  }

  build(node: ParsedNode, depth: number): Tree {
    const at = this.#spot(node);
    this.#nodes += 1;
    if (this.#nodes > MAX_CONFIG_NODES)
      throw new TooMuch(at, `more than ${MAX_CONFIG_NODES} values once aliases are resolved`);
    if (depth > MAX_CONFIG_DEPTH) throw new TooMuch(at, `nested deeper than ${MAX_CONFIG_DEPTH} levels`);
    if (isAlias(node)) return this.build(this.#target(node), depth + 1);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isMap(node)) return { kind: "map", at, entries: this.#entries(node, depth) };
    if (isSeq(node)) return { kind: "list", at, items: node.items.map((item) => this.build(item, depth + 1)) };
    return scalarTree(node, at);
  }

  #entries(map: YAMLMap, depth: number): MapTree["entries"] {
    const entries = new Map<string, MapTree["entries"][number]>();
    const merged: MapTree[] = [];
    for (const pair of map.items) {
      const keyNode = pair.key as ParsedNode;
      const at = this.#spot(keyNode);
      const key = isScalar(keyNode) ? keyText(keyNode) : undefined;
      if (key === undefined) throw new TooMuch(at, "a key must be a plain text");
      const valueNode = pair.value as ParsedNode | null;
      const value = valueNode === null ? emptyScalar(at) : this.build(valueNode, depth + 1);
      if (key === "<<" && isScalar(keyNode) && keyNode.type === "PLAIN") merged.push(...mergeSources(value));
      else entries.set(key, { key, at, value });
    }
    for (const source of merged)
      for (const entry of source.entries) if (!entries.has(entry.key)) entries.set(entry.key, entry);
    return [...entries.values()];
  }

  #target(alias: Alias): ParsedNode {
    const target = this.#anchors.get(alias.source);
    if (target === undefined)
      throw new TooMuch(this.#spot(alias), `no anchor &${alias.source} stands before this alias`);
    return target;
  }

  #spot(node: { range?: readonly number[] | null | undefined }): Spot {
    return { source: this.#source, offset: node.range?.[0] ?? this.#document.range[0] };
  }
}

function keyText(node: Scalar): string | undefined {
  if (typeof node.value === "string") return node.value;
  // Map keys such as 1 or true are texts in JSON.
  return node.value === null || typeof node.value === "object"
    ? undefined
    : (node.source ?? JSON.stringify(node.value));
}

function mergeSources(value: Tree): MapTree[] {
  if (value.kind === "map") return [value];
  if (value.kind === "list") return value.items.flatMap(mergeSources);
  throw new TooMuch(value.at, "a merge key needs a map or a list of maps");
}

function scalarTree(node: Scalar.Parsed, at: Spot): ScalarTree {
  return { kind: "scalar", at, value: plainValue(node), text: node.source };
}

/** Explicit tags may make other values (sets, dates): those are taken as they are written. */
function plainValue(node: Scalar.Parsed): ScalarTree["value"] {
  const { value } = node;
  const plain = typeof value === "string" || typeof value === "number" || typeof value === "boolean" || value === null;
  return plain ? value : node.source;
}

function emptyScalar(at: Spot): ScalarTree {
  return { kind: "scalar", at, value: null, text: "" };
}
