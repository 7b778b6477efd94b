/** The contexts that live, by id, and the registered makers of root contexts. Unknown ids are null, never a trap. */
import { RootContext, StreamContext } from "./context.ts";
import { IdTable } from "./id-table.ts";
import { Property } from "./property.ts";

export const roots = new IdTable<RootContext>();
export const streams = new IdTable<StreamContext>();

const names: Array<string> = [];
const makers: Array<() => RootContext> = [];

/**
 * Says how a root context is made. A module with several registers each under the `root_id` that the
 * configuration names; with one, the name does not matter.
 */
export function register(make: () => RootContext, rootId: string = ""): void {
  names.push(rootId);
  makers.push(make);
}

/** Makes the context the host announced. */
export function createContext(id: u32, parentId: u32): void {
  if (parentId == 0) {
    const root = makeRoot();
    if (root === null) return;
    root.contextId = id;
    roots.set(id, root);
    return;
  }
  const root = roots.get(parentId);
  if (root === null) return;
  const stream = root.createFilter();
  if (stream === null) return;
  stream.contextId = id;
  streams.set(id, stream);
}

function makeRoot(): RootContext | null {
  if (makers.length == 0) return null;
  if (makers.length == 1) return makers[0]();
  const wanted = new Property("plugin_root_id").text();
  const index = wanted === null ? 0 : names.indexOf(wanted);
  return index < 0 ? null : makers[index]();
}
