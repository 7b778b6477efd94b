/** What a filter did to a stream, in a form that two versions can be compared by. */
import type { HeaderMap } from "../../codec/headers.ts";

export class Decision {
  /** Status of the response that the filter gave itself; 0: none. */
  localReply = 0;
  reset = false;
  /** The heads as they left the filter; null while it holds them, or when they never came. */
  request: HeaderMap | null = null;
  response: HeaderMap | null = null;
}

export interface Difference {
  readonly headers: boolean;
  readonly status: boolean;
  readonly localReply: boolean;
}

/** Null: the second one has not come as far as the first one, so that nothing can be said. */
export function compare(live: Decision, shadow: Decision): Difference | null {
  const localReply = live.localReply !== shadow.localReply || live.reset !== shadow.reset;
  const request = live.request !== null && shadow.request !== null && !sameFields(live.request, shadow.request, "");
  if (localReply) {
    // One let the request go on where the other one answered: its response head is another one, or not there.
    const decided = shadow.localReply !== 0 || shadow.reset || (shadow.request !== null && live.request === null);
    return decided ? { headers: request, status: false, localReply } : null;
  }
  if (live.request !== null && shadow.request === null) return null;
  if (live.response === null) return { headers: request, status: false, localReply };
  if (shadow.response === null) return null;
  const status = live.response.get(":status") !== shadow.response.get(":status");
  return { headers: request || !sameFields(live.response, shadow.response, ":status"), status, localReply };
}

/** The same names with the same values in the same order of each name; `but` is not looked at. */
function sameFields(a: HeaderMap, b: HeaderMap, but: string): boolean {
  const one = a.list;
  const other = b.list;
  if (one.length !== other.length) return false;
  const sorted = (list: readonly string[]): string => {
    const fields: string[] = [];
    for (let at = 0; at < list.length; at += 2) if (list[at] !== but) fields.push(`${list[at]}\0${list[at + 1]}`);
    return fields.sort().join("\n");
  };
  return sorted(one) === sorted(other);
}
