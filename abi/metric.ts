/** Kinds of `proxy_define_metric` (Proxy-Wasm `proxy_metric_type_t`). */
export const COUNTER = 0;
export const GAUGE = 1;
export const HISTOGRAM = 2;
