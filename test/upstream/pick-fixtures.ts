/** Streams and hosts for tests of balancers. */
import assert from "node:assert/strict";
import type { StreamInfo } from "../../runtime/observe/stream-info.ts";
import type { Hash64 } from "../../runtime/upstream/hash64.ts";
import { Host, type HostFacts } from "../../runtime/upstream/host.ts";
import { MetadataMatch } from "../../runtime/upstream/metadata-match.ts";
import type { PickContext } from "../../runtime/upstream/pick.ts";
import { freshStream } from "../observe/stream-sample.ts";

const noPool = { request: () => assert.fail("no request here"), drain: () => {}, close: () => {} };

/** A host whose name and address are `name`. */
export function hostNamed(name: string, over: Partial<HostFacts> = {}): Host {
  const target = { kind: "ip", host: name, port: 80, ipv4Compat: false } as const;
  return new Host({ target, hostname: name, weight: 1, priority: 0, healthy: true, ...over }, () => noPool);
}

/** A stream with a hash, and with metadata that hosts must have. */
export function contextOf(
  given: {
    info?: StreamInfo;
    hash?: Hash64 | undefined;
    match?: Readonly<Record<string, unknown>> | undefined;
    refuses?: (host: Host) => boolean;
  } = {},
): PickContext {
  const match = MetadataMatch.of(given.match);
  return {
    info: given.info ?? freshStream(),
    metadataMatch: () => match,
    moreHosts: given.refuses === undefined ? 0 : 5,
    refuses: given.refuses ?? (() => false),
    hash(into) {
      if (given.hash === undefined) return false;
      Object.assign(into, given.hash);
      return true;
    },
  };
}
