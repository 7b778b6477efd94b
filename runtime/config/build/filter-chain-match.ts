/** envoy.config.listener.v3.FilterChainMatch, and the conflicts between the chains of a listener. */
import { MAX_FILTER_CHAIN_PLACES } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import { FilterChainTree } from "../filter-chain-tree.ts";
import type { FilterChainMatch } from "../listener-snapshot.ts";
import type { FilterChainConfig } from "../snapshot.ts";
import { buildCidrs } from "./address.ts";
import type { BuildContext } from "./context.ts";

const EVERYTHING: FilterChainMatch = {
  destinationPort: 0,
  prefixRanges: [],
  serverNames: [],
  transportProtocol: "",
  applicationProtocols: [],
  directSourcePrefixRanges: [],
  sourceType: "ANY",
  sourcePrefixRanges: [],
  sourcePorts: [],
};

/** What a chain matches. */
export function buildFilterChainMatch(context: BuildContext, chain: Message): FilterChainMatch {
  const match = chain.message("filter_chain_match");
  if (match === undefined) return EVERYTHING;
  return {
    destinationPort: match.wrappedNumber("destination_port", 0),
    prefixRanges: buildCidrs(context, match, "prefix_ranges"),
    serverNames: serverNames(context, match),
    transportProtocol: match.text("transport_protocol"),
    applicationProtocols: match.texts("application_protocols"),
    directSourcePrefixRanges: buildCidrs(context, match, "direct_source_prefix_ranges"),
    sourceType: (["ANY", "SAME_IP_OR_LOOPBACK", "EXTERNAL"] as const)[match.number("source_type")] ?? "ANY",
    sourcePrefixRanges: buildCidrs(context, match, "source_prefix_ranges"),
    sourcePorts: match.numbers("source_ports"),
  };
}

/** Reports chains of one listener that match the same connections with the same right; both are named. */
export function checkFilterChainMatches(
  context: BuildContext,
  messages: readonly Message[],
  chains: readonly FilterChainConfig[],
): void {
  // Ranges that are wrong have been reported and have no place in a tree.
  if (context.problems.errors.some((problem) => problem.rule === "ip-address")) return;
  const tree = new FilterChainTree<number>();
  const same = new Map<string, number>();
  let places = 0;
  for (const [index, { match }] of chains.entries()) {
    const message = messages[index]!;
    places += placesOf(match);
    if (places > MAX_FILTER_CHAIN_PLACES) {
      context.error(
        message,
        "filter_chain_match",
        "filter-chain",
        `the matches of this listener's filter chains have more than ${MAX_FILTER_CHAIN_PLACES} combinations`,
      );
      return;
    }
    const key = JSON.stringify(match);
    const twin = same.get(key);
    same.set(key, twin ?? index);
    const other = twin ?? tree.add(match, index);
    if (other === undefined) continue;
    const name = nameOf(chains[index]!, index);
    const otherName = nameOf(chains[other]!, other);
    context.error(
      message,
      "filter_chain_match",
      "filter-chain",
      twin === undefined
        ? `multiple filter chains with overlapping matching rules are defined: ${name} and ${otherName}`
        : `filter chain ${name} has the same matching rules defined as ${otherName}`,
    );
  }
}

function nameOf({ name }: FilterChainConfig, index: number): string {
  return name === "" ? `number ${index + 1}` : `'${name}'`;
}

function placesOf(match: FilterChainMatch): number {
  const lists = [
    match.prefixRanges,
    match.serverNames,
    match.applicationProtocols,
    match.directSourcePrefixRanges,
    match.sourcePrefixRanges,
    match.sourcePorts,
  ];
  return lists.reduce((product, list) => product * Math.max(1, list.length), 1);
}

function serverNames(context: BuildContext, match: Message): string[] {
  return match.texts("server_names").map((name, index) => {
    if (name.includes("*") && !/^\*\.[^*]+$/.test(name))
      context.itemError(match, "server_names", index, {
        rule: "server-name",
        text: `partial wildcards are not supported in "server_names": ${name}; write *.example.com, or no name for all`,
      });
    return name.toLowerCase();
  });
}
