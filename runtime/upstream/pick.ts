/** What the choice of a host may depend on. The router and tcp_proxy are it for their streams. */
import type { ConnectionHashPolicy } from "../config/hash-policy-snapshot.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import type { Host } from "./host.ts";
import { type Hash64, xxHash64, xxHash64Text } from "./hash64.ts";
import { LB_NAMESPACE, MetadataMatch } from "./metadata-match.ts";

export interface PickContext {
  readonly info: StreamInfo;
  /** What the host's metadata must say; null: nothing. Asked by clusters that have subsets. */
  metadataMatch(): MetadataMatch | null;
  /** The hash of the stream by its hash policy; false when it has none. Asked by clusters that choose by hashes. */
  hash(into: Hash64): boolean;
  /** How many further hosts may be chosen when one is refused. */
  readonly moreHosts: number;
  /** Whether another host is to be chosen, if there is one. */
  refuses(host: Host): boolean;
}

const NO_SEED: Readonly<Hash64> = { hi: 0, lo: 0 };

/** The policies that need no HTTP. False when there is nothing to go by. */
export function hashOfConnection(policy: ConnectionHashPolicy, info: StreamInfo, ip: string, into: Hash64): boolean {
  if (policy.kind === "source_ip") {
    if (ip === "") return false;
    xxHash64Text(ip, NO_SEED, into);
    return true;
  }
  const state = info.stateOf(policy.key);
  if (state === undefined) return false;
  xxHash64(state, state.length, NO_SEED, into);
  return true;
}

/** What the configuration wants, with what filters left in dynamic metadata of the connection and of the stream on top. */
export function wantedMetadata(configured: MetadataMatch | null, info: StreamInfo): MetadataMatch | null {
  const { connection } = info;
  const ofStream = info.dynamicMetadata?.get(LB_NAMESPACE);
  const ofConnection = (connection.stream?.dynamicMetadata ?? connection.metadata)?.get(LB_NAMESPACE);
  if (ofStream === undefined && ofConnection === undefined) return configured;
  return MetadataMatch.of(configured?.fields, ofConnection, ofStream);
}
