/**
 * Which functions can be on the stack more than once. Only those need to be counted against the guest's stack: each
 * other one is there once at most, and how long a chain of those can get is known before the module runs.
 */
import type { IntList } from "./int-list.ts";

export interface CallGraph {
  /** Functions, imports first. */
  readonly functions: number;
  /** Class of each function's signature: equal for types of the same shape. */
  readonly signatures: readonly number[];
  readonly signatureCount: number;
  /** Signature of each type index. */
  readonly signatureOfType: readonly number[];
  /** Pairs: caller, callee. */
  readonly calls: IntList;
  /** Pairs: caller, type index. */
  readonly indirectCalls: IntList;
  /** Functions that can be called through a table or reference. */
  readonly taken: ReadonlySet<number>;
  /** Estimated bytes of each function's frame. */
  readonly frames: readonly number[];
}

/** True for each function that has to be counted. All are when the longest chain of single ones exceeds `chainLimit` bytes. */
export function countedFunctions(graph: CallGraph, chainLimit: number): readonly boolean[] {
  const walk = new Components(graph);
  const { recursive, longestChain } = walk.run();
  return longestChain > chainLimit ? recursive.map(() => true) : recursive;
}

/** Edges by node: `targets[starts[n] … starts[n + 1])`. Behind the functions stands a node for each signature. */
function edges(graph: CallGraph): { starts: Int32Array; targets: Int32Array } {
  const { calls, indirectCalls, taken, signatures, signatureOfType, functions } = graph;
  const nodes = functions + graph.signatureCount;
  const pairs: [from: number, to: number][] = [];
  for (let n = 0; n < calls.length; n += 2) pairs.push([calls.at(n), calls.at(n + 1)]);
  for (let n = 0; n < indirectCalls.length; n += 2) {
    pairs.push([indirectCalls.at(n), functions + signatureOfType[indirectCalls.at(n + 1)]!]);
  }
  for (const one of taken) if (one < functions) pairs.push([functions + signatures[one]!, one]);
  const starts = new Int32Array(nodes + 1);
  for (const [from] of pairs) starts[from + 1]!++;
  for (let n = 0; n < nodes; n++) starts[n + 1]! += starts[n]!;
  const next = starts.slice();
  const targets = new Int32Array(pairs.length);
  for (const [from, to] of pairs) targets[next[from]!++] = to;
  return { starts, targets };
}

/** Tarjan's strongly connected components, without recursion, and the longest chain over them. */
class Components {
  readonly #graph: CallGraph;
  readonly #starts: Int32Array;
  readonly #targets: Int32Array;
  readonly #order: Int32Array;
  readonly #low: Int32Array;
  readonly #onStack: Uint8Array;
  readonly #component: Int32Array;
  readonly #stack: number[] = [];
  readonly #recursive: boolean[];
  /** Bytes of the longest chain of single functions that begins in a component. */
  readonly #chains: number[] = [];
  #next = 1;
  #longest = 0;

  constructor(graph: CallGraph) {
    this.#graph = graph;
    const { starts, targets } = edges(graph);
    const nodes = starts.length - 1;
    this.#starts = starts;
    this.#targets = targets;
    this.#order = new Int32Array(nodes);
    this.#low = new Int32Array(nodes);
    this.#onStack = new Uint8Array(nodes);
    this.#component = new Int32Array(nodes).fill(-1);
    this.#recursive = Array.from({ length: graph.functions }, () => false);
  }

  run(): { recursive: readonly boolean[]; longestChain: number } {
    for (let node = 0; node < this.#order.length; node++) if (this.#order[node] === 0) this.#visit(node);
    return { recursive: this.#recursive, longestChain: this.#longest };
  }

  #visit(root: number): void {
    const path: number[] = [];
    const cursors: number[] = [];
    this.#enter(root, path, cursors);
    while (path.length > 0) {
      const node = path.at(-1)!;
      const cursor = cursors.at(-1)!;
      if (cursor < this.#starts[node + 1]!) {
        cursors[cursors.length - 1] = cursor + 1;
        const target = this.#targets[cursor]!;
        if (this.#order[target] === 0) this.#enter(target, path, cursors);
        else if (this.#onStack[target] === 1) this.#low[node] = Math.min(this.#low[node]!, this.#order[target]!);
        continue;
      }
      path.pop();
      cursors.pop();
      if (this.#low[node] === this.#order[node]) this.#closeComponent(node);
      const parent = path.at(-1);
      if (parent !== undefined) this.#low[parent] = Math.min(this.#low[parent]!, this.#low[node]!);
    }
  }

  #enter(node: number, path: number[], cursors: number[]): void {
    this.#order[node] = this.#low[node] = this.#next++;
    this.#stack.push(node);
    this.#onStack[node] = 1;
    path.push(node);
    cursors.push(this.#starts[node]!);
  }

  #closeComponent(head: number): void {
    const id = this.#chains.length;
    const members: number[] = [];
    let member: number;
    do {
      member = this.#stack.pop()!;
      this.#onStack[member] = 0;
      this.#component[member] = id;
      members.push(member);
    } while (member !== head);
    const circular = members.length > 1 || this.#callsItself(head);
    let chain = 0;
    for (const one of members) {
      for (let n = this.#starts[one]!; n < this.#starts[one + 1]!; n++) {
        const target = this.#component[this.#targets[n]!]!;
        if (target !== id) chain = Math.max(chain, this.#chains[target]!);
      }
      if (circular && one < this.#graph.functions) this.#recursive[one] = true;
    }
    if (!circular && head < this.#graph.functions) chain += this.#graph.frames[head]!;
    this.#chains.push(chain);
    this.#longest = Math.max(this.#longest, chain);
  }

  #callsItself(node: number): boolean {
    for (let n = this.#starts[node]!; n < this.#starts[node + 1]!; n++) if (this.#targets[n] === node) return true;
    return false;
  }
}
