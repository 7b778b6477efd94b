/**
 * Which functions can be on the stack more than once. Only those need to be counted against the guest's stack: each
 * other one is there once at most, and how long a chain of those can get is known before the module runs. Of a small
 * circle of functions it is enough to count so many that no circle is left without them, each with the longest way
 * through the others: large ones rather than small ones, which run more often.
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

/**
 * Bytes that each function counts for, 0 for those that are not counted. All are when the longest chain of single ones
 * exceeds `chainLimit` bytes.
 */
export function stackWeights(graph: CallGraph, chainLimit: number): readonly number[] {
  const { weights, longestChain } = new Components(graph).run();
  return longestChain > chainLimit ? graph.frames : weights;
}

/** Bytes of all frames of a circle up to which only the functions that close it are counted: more would be too rough. */
const SMALL_CIRCLE_BYTES = 4096;

/** Edges by node: `targets[starts[n] … starts[n + 1])`. Behind the functions stands a node for each signature. */
function edges(graph: CallGraph): { starts: Int32Array; targets: Int32Array } {
  const { calls, indirectCalls, taken, signatures, signatureOfType, functions } = graph;
  const nodes = functions + graph.signatureCount;
  const each = (edge: (from: number, to: number) => void): void => {
    for (let n = 0; n < calls.length; n += 2) edge(calls.at(n), calls.at(n + 1));
    for (let n = 0; n < indirectCalls.length; n += 2) {
      edge(indirectCalls.at(n), functions + signatureOfType[indirectCalls.at(n + 1)]!);
    }
    for (const one of taken) if (one < functions) edge(functions + signatures[one]!, one);
  };
  const starts = new Int32Array(nodes + 1);
  each((from) => starts[from + 1]!++);
  for (let n = 0; n < nodes; n++) starts[n + 1]! += starts[n]!;
  const next = starts.slice();
  const targets = new Int32Array(starts[nodes]!);
  each((from, to) => (targets[next[from]!++] = to));
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
  readonly #weights: number[];
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
    this.#weights = Array.from({ length: graph.functions }, () => 0);
  }

  run(): { weights: readonly number[]; longestChain: number } {
    for (let node = 0; node < this.#order.length; node++) if (this.#order[node] === 0) this.#visit(node);
    return { weights: this.#weights, longestChain: this.#longest };
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
    }
    if (circular)
      this.#weigh(
        id,
        members.filter((one) => one < this.#graph.functions),
      );
    if (!circular && head < this.#graph.functions) chain += this.#graph.frames[head]!;
    this.#chains.push(chain);
    this.#longest = Math.max(this.#longest, chain);
  }

  #weigh(id: number, functions: readonly number[]): void {
    const { frames } = this.#graph;
    const bytes = functions.reduce((sum, one) => sum + frames[one]!, 0);
    if (bytes > SMALL_CIRCLE_BYTES) {
      for (const one of functions) this.#weights[one] = frames[one]!;
      return;
    }
    const counted = new Set(functions);
    for (const one of functions.toSorted((a, b) => frames[a]! - frames[b]!)) {
      counted.delete(one);
      if (this.#leadsBack(one, one, id, counted, new Set())) counted.add(one);
    }
    const ways = new Map<number, number>();
    for (const one of counted) this.#weights[one] = frames[one]! + this.#longestWay(one, id, counted, ways);
  }

  /** True when a way leads from `node` to `end` inside of a circle without the functions that are counted. */
  #leadsBack(node: number, end: number, id: number, counted: ReadonlySet<number>, seen: Set<number>): boolean {
    for (let n = this.#starts[node]!; n < this.#starts[node + 1]!; n++) {
      const target = this.#targets[n]!;
      if (target === end) return true;
      if (this.#component[target] !== id || counted.has(target) || seen.has(target)) continue;
      seen.add(target);
      if (this.#leadsBack(target, end, id, counted, seen)) return true;
    }
    return false;
  }

  /** Bytes of the longest way through a circle from `node` on, without it, up to functions that are counted. */
  #longestWay(node: number, id: number, counted: ReadonlySet<number>, known: Map<number, number>): number {
    let longest = known.get(node);
    if (longest !== undefined) return longest;
    longest = 0;
    for (let n = this.#starts[node]!; n < this.#starts[node + 1]!; n++) {
      const target = this.#targets[n]!;
      if (this.#component[target] !== id || counted.has(target)) continue;
      const own = target < this.#graph.functions ? this.#graph.frames[target]! : 0;
      longest = Math.max(longest, own + this.#longestWay(target, id, counted, known));
    }
    known.set(node, longest);
    return longest;
  }

  #callsItself(node: number): boolean {
    for (let n = this.#starts[node]!; n < this.#starts[node + 1]!; n++) if (this.#targets[n] === node) return true;
    return false;
  }
}
