/** envoy.config.cluster.v3.OutlierDetection, with Envoy's defaults. */
import type { OutlierConfig } from "../cluster-snapshot.ts";
import type { Message } from "../document/message.ts";
import type { BuildContext } from "./context.ts";

/** Undefined where the cluster has none. */
export function buildOutlier(context: BuildContext, cluster: Message): OutlierConfig | undefined {
  const detection = cluster.message("outlier_detection");
  if (detection === undefined) return undefined;
  const number = (field: string, unset: number): number => detection.wrappedNumber(field, unset);
  const baseMs = context.millis(detection, "base_ejection_time", 30_000);
  const maxMs = context.millis(detection, "max_ejection_time", Math.max(300_000, baseMs));
  if (maxMs < baseMs)
    context.error(
      detection,
      "max_ejection_time",
      "outlier",
      "max_ejection_time cannot be smaller than base_ejection_time",
    );
  return {
    consecutive5xx: number("consecutive_5xx", 5),
    consecutiveGatewayFailure: number("consecutive_gateway_failure", 5),
    consecutiveLocalOriginFailure: number("consecutive_local_origin_failure", 5),
    split: detection.flag("split_external_local_origin_errors"),
    intervalMs: context.millis(detection, "interval", 10_000),
    baseEjectionTimeMs: baseMs,
    maxEjectionTimeMs: maxMs,
    maxEjectionTimeJitterMs: context.millis(detection, "max_ejection_time_jitter", 0),
    maxEjectionPercent: number("max_ejection_percent", 10),
    alwaysEjectOneHost: detection.wrappedFlag("always_eject_one_host", false),
    successRateMinimumHosts: number("success_rate_minimum_hosts", 5),
    successRateRequestVolume: number("success_rate_request_volume", 100),
    successRateStdevFactor: number("success_rate_stdev_factor", 1900),
    failurePercentageThreshold: number("failure_percentage_threshold", 85),
    failurePercentageMinimumHosts: number("failure_percentage_minimum_hosts", 5),
    failurePercentageRequestVolume: number("failure_percentage_request_volume", 50),
    enforcing: {
      consecutive_5xx: number("enforcing_consecutive_5xx", 100),
      consecutive_gateway_failure: number("enforcing_consecutive_gateway_failure", 0),
      consecutive_local_origin_failure: number("enforcing_consecutive_local_origin_failure", 100),
      success_rate: number("enforcing_success_rate", 100),
      local_origin_success_rate: number("enforcing_local_origin_success_rate", 100),
      failure_percentage: number("enforcing_failure_percentage", 0),
      local_origin_failure_percentage: number("enforcing_failure_percentage_local_origin", 0),
    },
  };
}
