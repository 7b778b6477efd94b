/** `/listeners`: names and bound addresses, as text and as admin.v3.Listeners. */
import type { BoundAddress } from "../listener/bind.ts";
import type { AdminSubject } from "./subject.ts";

export function listenersText({ bound }: AdminSubject): string {
  return bound.map(({ name, address }) => `${name}::${address}\n`).join("");
}

export function listenersJson({ bound }: AdminSubject): object {
  const byName = new Map<string, BoundAddress[]>();
  for (const one of bound) {
    const list = byName.get(one.name);
    if (list === undefined) byName.set(one.name, [one]);
    else list.push(one);
  }
  const statuses = [...byName].map(([name, [first, ...more]]) => ({
    name,
    local_address: addressJson(first!),
    ...(more.length === 0 ? {} : { additional_local_addresses: more.map(addressJson) }),
  }));
  return { listener_statuses: statuses };
}

function addressJson({ address, port }: BoundAddress): object {
  if (port === 0) return { pipe: { path: address } };
  const ip = address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
  return { socket_address: { address: ip, port_value: port } };
}
