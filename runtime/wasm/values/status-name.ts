/** Names of statuses as Proxy-Wasm writes them, for people. */
import * as Status from "../../../abi/status.ts";

const names = new Map(Object.entries(Status).map(([name, value]) => [value as number, name]));

/** `NOT_FOUND` for 1, and so on. */
export function statusName(status: number): string {
  return names.get(status) ?? String(status);
}
