/** Metrics a guest defines: `proxy_define/increment/record/get_metric`. */
import * as MetricKind from "../../../abi/metric.ts";
import * as Status from "../../../abi/status.ts";
import { MAX_METRIC_NAME_BYTES, MAX_METRICS_PER_INSTANCE, METRIC_FUEL } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import { putU32 } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

export function metricFunctions(instance: Instance): HostFunctions {
  const { memory, metrics, metricIds } = instance;
  const { shared } = instance.facts.environment;
  return {
    proxy_define_metric(kind: number, at: number, size: number, idAt: number): number {
      const call = "proxy_define_metric";
      if (kind >>> 0 > MetricKind.HISTOGRAM) return instance.refuse(Status.BAD_ARGUMENT, call, "kind: unknown");
      if (size >>> 0 > MAX_METRIC_NAME_BYTES) return instance.refuse(Status.BAD_ARGUMENT, call, "name: too long");
      if (!memory.has(at >>> 0, size >>> 0)) return instance.outside(call, "name");
      const own = memory.utf8(at >>> 0, size >>> 0);
      const name = instance.effective.root?.plugin.config.bundled === true ? own : `wasmcustom.${own}`;
      const key = `${kind}${name}`;
      let id = metricIds.get(key);
      if (id === undefined) {
        instance.spend(METRIC_FUEL);
        const metric = metrics.length >= MAX_METRICS_PER_INSTANCE ? undefined : shared.metrics.define(kind, name);
        if (metric === undefined) return instance.refuse(Status.INTERNAL_FAILURE, call, "too many metrics are defined");
        // Envoy's numbering: the low two bits tell the kind.
        id = (metrics.length << 2) | kind;
        metrics.push(metric);
        metricIds.set(key, id);
      }
      return putU32(instance, call, "id_p", idAt >>> 0, id);
    },

    proxy_increment_metric(id: number, offset: bigint): number {
      const metric = metrics[id >>> 2];
      if (metric === undefined || metric === null) return unknown("proxy_increment_metric");
      return metric.increment(offset)
        ? Status.OK
        : instance.refuse(
            Status.BAD_ARGUMENT,
            "proxy_increment_metric",
            "a histogram cannot be incremented, a counter only by more than 0",
          );
    },

    proxy_record_metric(id: number, value: bigint): number {
      const metric = metrics[id >>> 2];
      if (metric === undefined || metric === null) return unknown("proxy_record_metric");
      metric.record(value);
      return Status.OK;
    },

    proxy_get_metric(id: number, valueAt: number): number {
      const metric = metrics[id >>> 2];
      if (metric === undefined || metric === null) return unknown("proxy_get_metric");
      const value = metric.value();
      if (value === undefined)
        return instance.refuse(Status.BAD_ARGUMENT, "proxy_get_metric", "id: a histogram has no value");
      return memory.putU64(valueAt >>> 0, value) ? Status.OK : instance.outside("proxy_get_metric", "value_p");
    },
  };

  function unknown(call: string): number {
    return instance.refuse(Status.NOT_FOUND, call, "id: this instance has defined no such metric");
  }
}
