/** How a cluster chooses among its hosts: the policy, tables of hashes, subsets. */
import {
  HEALTHY_PANIC_PERCENT,
  LEAST_REQUEST_CHOICES,
  MAGLEV_TABLE_SIZE,
  MAX_RING_SIZE,
  MIN_RING_SIZE,
  OVERPROVISIONING_PERCENT,
} from "../../limits.ts";
import type { HashingConfig, SubsetsConfig, SubsetSelector } from "../cluster-snapshot.ts";
import type { Message } from "../document/message.ts";
import type { ClusterConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";

type LoadBalancing = Pick<
  ClusterConfig,
  "lbPolicy" | "hashing" | "subsets" | "healthyPanicPercent" | "overprovisioningPercent" | "leastRequest"
>;

/** The part of a cluster that says which host serves. */
export function buildLoadBalancing(
  context: BuildContext,
  cluster: Message,
  type: ClusterConfig["type"],
): LoadBalancing {
  const policy = lbPolicy(context, cluster, type);
  const subsets = buildSubsets(context, cluster);
  if (subsets !== undefined && policy === "CLUSTER_PROVIDED")
    context.error(
      cluster,
      "lb_subset_config",
      "cluster",
      "cluster: LB policy CLUSTER_PROVIDED cannot be combined with lb_subset_config",
    );
  const panic = cluster.message("common_lb_config")?.message("healthy_panic_threshold")?.number("value");
  const overprovisioning = cluster
    .message("load_assignment")
    ?.message("policy")
    ?.wrappedNumber("overprovisioning_factor", OVERPROVISIONING_PERCENT);
  return {
    lbPolicy: policy,
    ...(policy === "RING_HASH" || policy === "MAGLEV" ? { hashing: buildHashing(context, cluster, policy) } : {}),
    ...(subsets === undefined ? {} : { subsets }),
    ...(panic === undefined || Math.round(panic) === HEALTHY_PANIC_PERCENT
      ? {}
      : { healthyPanicPercent: Math.round(panic) }),
    ...(overprovisioning === undefined || overprovisioning === OVERPROVISIONING_PERCENT
      ? {}
      : { overprovisioningPercent: overprovisioning }),
    ...(policy === "LEAST_REQUEST" ? leastRequest(context, cluster) : {}),
  };
}

function lbPolicy(context: BuildContext, cluster: Message, type: ClusterConfig["type"]): ClusterConfig["lbPolicy"] {
  const policy = context.enumName(cluster, "lb_policy");
  if (type === "ORIGINAL_DST") {
    // Like Envoy, this takes the policy that is not set for a wrong one: it means ROUND_ROBIN.
    if (policy !== "CLUSTER_PROVIDED")
      context.error(
        cluster,
        "lb_policy",
        "cluster",
        `LB policy ${policy} is not valid for Cluster type ORIGINAL_DST. Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'`,
      );
    return "CLUSTER_PROVIDED";
  }
  if (
    policy === "ROUND_ROBIN" ||
    policy === "LEAST_REQUEST" ||
    policy === "RANDOM" ||
    policy === "RING_HASH" ||
    policy === "MAGLEV"
  )
    return policy;
  if (policy === "CLUSTER_PROVIDED")
    context.error(cluster, "lb_policy", "cluster", `LB policy CLUSTER_PROVIDED is not valid for Cluster type ${type}`);
  else if (policy !== "") context.unsupported(cluster, "lb_policy", `the policy ${policy}`);
  return "ROUND_ROBIN";
}

function leastRequest(context: BuildContext, cluster: Message): Pick<ClusterConfig, "leastRequest"> {
  const config = cluster.message("least_request_lb_config");
  if (config === undefined) return {};
  const bias = config.message("active_request_bias");
  // A value that the runtime might have is not looked for, since layers are read at the start.
  const value = bias?.number("default_value") ?? 1;
  if (value < 0) context.error(config, "active_request_bias", "least-request", "must not be negative");
  return { leastRequest: { choices: config.wrappedNumber("choice_count", LEAST_REQUEST_CHOICES), bias: value } };
}

function buildHashing(context: BuildContext, cluster: Message, policy: "RING_HASH" | "MAGLEV"): HashingConfig {
  const ring = cluster.message("ring_hash_lb_config");
  const minimumRingSize = ring?.wrappedNumber("minimum_ring_size", MIN_RING_SIZE) ?? MIN_RING_SIZE;
  const maximumRingSize = ring?.wrappedNumber("maximum_ring_size", MAX_RING_SIZE) ?? MAX_RING_SIZE;
  if (ring !== undefined && minimumRingSize > maximumRingSize)
    context.error(
      ring,
      "minimum_ring_size",
      "ring-hash",
      `ring hash: minimum_ring_size (${minimumRingSize}) > maximum_ring_size (${maximumRingSize})`,
    );
  if (ring !== undefined && (minimumRingSize === 0 || maximumRingSize === 0))
    context.error(ring, "", "ring-hash", "a ring needs at least one place; set its sizes above 0");
  const consistent = cluster.message("common_lb_config")?.message("consistent_hashing_lb_config");
  const balance = consistent?.message("hash_balance_factor");
  const table = cluster.message("maglev_lb_config");
  const tableSize = table?.wrappedNumber("table_size", MAGLEV_TABLE_SIZE) ?? MAGLEV_TABLE_SIZE;
  if (policy === "MAGLEV" && table !== undefined && !isPrime(tableSize))
    context.error(
      table,
      "table_size",
      "maglev",
      `The table size of maglev must be prime number, which ${tableSize} is not`,
    );
  return {
    minimumRingSize,
    maximumRingSize,
    function:
      ring !== undefined && context.enumName(ring, "hash_function") === "MURMUR_HASH_2" ? "MURMUR_HASH_2" : "XX_HASH",
    tableSize,
    useHostname: consistent?.flag("use_hostname_for_hashing") ?? false,
    ...(balance === undefined ? {} : { balanceFactor: balance.number("value") }),
  };
}

function isPrime(number: number): boolean {
  if (number < 2) return false;
  for (let by = 2; by * by <= number; by++) if (number % by === 0) return false;
  return true;
}

const FALLBACKS = ["NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"] as const;
const SELECTOR_FALLBACKS = ["NOT_DEFINED", "NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET", "KEYS_SUBSET"] as const;

/** Undefined without selectors: there are no subsets then, as in Envoy. */
function buildSubsets(context: BuildContext, cluster: Message): SubsetsConfig | undefined {
  const config = cluster.message("lb_subset_config");
  const selectors = config?.messages("subset_selectors") ?? [];
  if (config === undefined || selectors.length === 0) return undefined;
  return {
    fallback: FALLBACKS[config.number("fallback_policy")] ?? "NO_FALLBACK",
    defaultSubset: (config.message("default_subset")?.json ?? {}) as SubsetsConfig["defaultSubset"],
    selectors: selectors.map((selector) => buildSelector(context, selector)),
    panicModeAny: config.flag("panic_mode_any"),
    listAsAny: config.flag("list_as_any"),
    fallbackList: context.enumName(config, "metadata_fallback_policy") === "FALLBACK_LIST",
  };
}

function buildSelector(context: BuildContext, selector: Message): SubsetSelector {
  const keys = [...new Set(selector.texts("keys"))].sort();
  const fallback = SELECTOR_FALLBACKS[selector.number("fallback_policy")] ?? "NOT_DEFINED";
  const fallbackKeys = [...new Set(selector.texts("fallback_keys_subset"))].sort();
  const wrong = (text: string): void => context.error(selector, "fallback_keys_subset", "subset", text);
  if (fallback === "KEYS_SUBSET") {
    if (fallbackKeys.length === 0) wrong("fallback_keys_subset cannot be empty");
    else if (!fallbackKeys.every((key) => keys.includes(key)))
      wrong("fallback_keys_subset must be a subset of selector keys");
    else if (fallbackKeys.length === keys.length) wrong("fallback_keys_subset cannot be equal to keys");
  }
  return { keys, fallback, fallbackKeys, singleHost: selector.flag("single_host_per_subset") };
}
