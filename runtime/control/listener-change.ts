/** A new list of listeners on all workers: prepared everywhere, sockets included, then put in force, or given up everywhere. */
import { isDeepStrictEqual } from "node:util";
import type { ListenerConfig } from "../config/snapshot.ts";
import type { BoundAddress } from "../listener/bind.ts";
import { connectionLimitKeys } from "../network/connection-limit.ts";
import type { PluginChange } from "../worker/plugin-change.ts";
import type { Reply } from "../worker/questions.ts";
import { namedChanges } from "./named-changes.ts";
import type { NamedChanges } from "./named-changes.ts";
import { stepAnswers } from "./step-answers.ts";

export class ListenerChange {
  readonly changes: NamedChanges;
  readonly id: number;
  readonly #after: readonly ListenerConfig[];
  /** Names of listeners whose sockets are others than before, or are not there any more. */
  readonly #leaving: readonly string[];
  #bound: readonly BoundAddress[] = [];

  constructor(id: number, before: readonly ListenerConfig[], after: readonly ListenerConfig[]) {
    this.id = id;
    this.#after = after;
    this.changes = namedChanges(before, after);
    this.#leaving = before.flatMap((old) => {
      const now = after.find(({ name }) => name === old.name);
      return now !== undefined && sameSockets(old, now) ? [] : [old.name];
    });
  }

  /** Worker 0 binds first: the others join the ports it got. Rejects with ProxyError, and leaves nothing behind. */
  async prepare(change: PluginChange): Promise<void> {
    const names = [...this.#after.map(({ name }) => name), ...connectionLimitKeys(this.#after)];
    const message = { kind: "prepare_listeners", id: this.id, listeners: this.#after } as const;
    try {
      const first = { ...message, sockets: change.socketsFor(names, this.#leaving, []) };
      this.#bound = boundOf(await change.ask(first, "first"));
      const others = { ...message, sockets: change.socketsFor(names, this.#leaving, this.#bound) };
      boundOf(await change.ask(others, "others"));
    } catch (error) {
      this.drop(change);
      throw error;
    }
  }

  drop(change: PluginChange): void {
    change.post({ kind: "drop_listeners", id: this.id });
  }

  /** It is put in force: workers that start from now on know its sockets. */
  settle(change: PluginChange): void {
    change.listenersSettled(this.#leaving, this.#bound);
  }
}

/** True when a listener can go on with the sockets it has. */
function sameSockets(a: ListenerConfig, b: ListenerConfig): boolean {
  const parts = ({ address, additionalAddresses, bindToPort }: ListenerConfig): unknown[] => [
    address,
    additionalAddresses,
    bindToPort,
  ];
  return isDeepStrictEqual(parts(a), parts(b));
}

function boundOf(replies: readonly Reply[]): readonly BoundAddress[] {
  return stepAnswers(replies, "listeners_changed", "listeners").flatMap(({ bound }) => bound);
}
