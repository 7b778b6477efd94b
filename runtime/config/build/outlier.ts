/** envoy.config.cluster.v3.OutlierDetection, with Envoy's defaults. */
import type { OutlierConfig } from "../cluster-snapshot.ts";
import type { Message } from "../document/message.ts";
import type { BuildContext } from "./context.ts";

/** What Envoy takes for times that are not set, in milliseconds, by field. */
const UNSET_MS = {
  interval: 10_000,
  base_ejection_time: 30_000,
  max_ejection_time: 300_000,
  max_ejection_time_jitter: 0,
} as const;

/** What Envoy takes for numbers that are not set, by field. */
const UNSET = {
  // Failures in a row.
  consecutive_5xx: 5,
  consecutive_gateway_failure: 5,
  consecutive_local_origin_failure: 5,
  // Percent of the hosts that may be out at a time.
  max_ejection_percent: 10,
  // Hosts that must be there, requests of each in an interval, and thousandths of the standard deviation below the mean.
  success_rate_minimum_hosts: 5,
  success_rate_request_volume: 100,
  success_rate_stdev_factor: 1900,
  // Percent of failures, hosts and requests as above.
  failure_percentage_threshold: 85,
  failure_percentage_minimum_hosts: 5,
  failure_percentage_request_volume: 50,
  // Percent of the cases in which a host that was found is taken out.
  enforcing_consecutive_5xx: 100,
  enforcing_consecutive_gateway_failure: 0,
  enforcing_consecutive_local_origin_failure: 100,
  enforcing_success_rate: 100,
  enforcing_local_origin_success_rate: 100,
  enforcing_failure_percentage: 0,
  enforcing_failure_percentage_local_origin: 0,
} as const;

/** Undefined where the cluster has none. */
export function buildOutlier(context: BuildContext, cluster: Message): OutlierConfig | undefined {
  const detection = cluster.message("outlier_detection");
  if (detection === undefined) return undefined;
  const number = (field: keyof typeof UNSET): number => detection.wrappedNumber(field, UNSET[field]);
  const millis = (field: keyof typeof UNSET_MS, unset: number = UNSET_MS[field]): number =>
    context.millis(detection, field, unset);
  const baseMs = millis("base_ejection_time");
  const maxMs = millis("max_ejection_time", Math.max(UNSET_MS.max_ejection_time, baseMs));
  if (maxMs < baseMs)
    context.error(
      detection,
      "max_ejection_time",
      "outlier",
      "max_ejection_time cannot be smaller than base_ejection_time",
    );
  return {
    consecutive5xx: number("consecutive_5xx"),
    consecutiveGatewayFailure: number("consecutive_gateway_failure"),
    consecutiveLocalOriginFailure: number("consecutive_local_origin_failure"),
    split: detection.flag("split_external_local_origin_errors"),
    intervalMs: millis("interval"),
    baseEjectionTimeMs: baseMs,
    maxEjectionTimeMs: maxMs,
    maxEjectionTimeJitterMs: millis("max_ejection_time_jitter"),
    maxEjectionPercent: number("max_ejection_percent"),
    alwaysEjectOneHost: detection.wrappedFlag("always_eject_one_host", false),
    successRateMinimumHosts: number("success_rate_minimum_hosts"),
    successRateRequestVolume: number("success_rate_request_volume"),
    successRateStdevFactor: number("success_rate_stdev_factor"),
    failurePercentageThreshold: number("failure_percentage_threshold"),
    failurePercentageMinimumHosts: number("failure_percentage_minimum_hosts"),
    failurePercentageRequestVolume: number("failure_percentage_request_volume"),
    enforcing: {
      consecutive_5xx: number("enforcing_consecutive_5xx"),
      consecutive_gateway_failure: number("enforcing_consecutive_gateway_failure"),
      consecutive_local_origin_failure: number("enforcing_consecutive_local_origin_failure"),
      success_rate: number("enforcing_success_rate"),
      local_origin_success_rate: number("enforcing_local_origin_success_rate"),
      failure_percentage: number("enforcing_failure_percentage"),
      local_origin_failure_percentage: number("enforcing_failure_percentage_local_origin"),
    },
  };
}
