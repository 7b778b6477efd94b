/** Metrics a guest defines: `proxy_define/increment/record/get_metric`. */
import * as MetricKind from "../../../abi/metric.ts";
import * as Status from "../../../abi/status.ts";
import { MAX_METRIC_NAME_BYTES, MAX_METRICS_PER_INSTANCE } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import type { HostFunctions } from "./functions.ts";

export function metricFunctions(instance: Instance): HostFunctions {
  const { memory, metrics, metricIds } = instance;
  const { shared } = instance.facts.environment;
  return {
    proxy_define_metric(kind: number, at: number, size: number, idAt: number): number {
      if (kind >>> 0 > MetricKind.HISTOGRAM || size >>> 0 > MAX_METRIC_NAME_BYTES) return Status.BAD_ARGUMENT;
      if (!memory.has(at >>> 0, size >>> 0)) return Status.INVALID_MEMORY_ACCESS;
      const own = memory.utf8(at >>> 0, size >>> 0);
      const name = instance.effective.root?.plugin.config.bundled === true ? own : `wasmcustom.${own}`;
      const key = `${kind}${name}`;
      let id = metricIds.get(key);
      if (id === undefined) {
        if (metrics.length >= MAX_METRICS_PER_INSTANCE) return Status.INTERNAL_FAILURE;
        const metric = shared.metrics.define(kind, name);
        if (metric === undefined) return Status.INTERNAL_FAILURE;
        // Envoy's numbering: the low two bits tell the kind.
        id = (metrics.length << 2) | kind;
        metrics.push(metric);
        metricIds.set(key, id);
      }
      return memory.putU32(idAt >>> 0, id) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },

    proxy_increment_metric(id: number, offset: bigint): number {
      const metric = metrics[id >>> 2];
      if (metric === undefined || metric === null) return Status.NOT_FOUND;
      return metric.increment(offset) ? Status.OK : Status.BAD_ARGUMENT;
    },

    proxy_record_metric(id: number, value: bigint): number {
      const metric = metrics[id >>> 2];
      if (metric === undefined || metric === null) return Status.NOT_FOUND;
      metric.record(value);
      return Status.OK;
    },

    proxy_get_metric(id: number, valueAt: number): number {
      const metric = metrics[id >>> 2];
      if (metric === undefined || metric === null) return Status.NOT_FOUND;
      const value = metric.value();
      if (value === undefined) return Status.BAD_ARGUMENT;
      return memory.putU64(valueAt >>> 0, value) ? Status.OK : Status.INVALID_MEMORY_ACCESS;
    },
  };
}
