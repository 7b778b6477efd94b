/** Metrics. Make them once, in `RootContext.onConfigure`: constructors ask the host for the metric's id. */
import * as MetricKind from "../../abi/metric.ts";
import * as Status from "../../abi/status.ts";
import * as env from "./env.ts";
import { beginCall, bytesSize, scalarP, utf8Of } from "./memory.ts";

function define(kind: i32, name: string): u32 {
  beginCall();
  const address = utf8Of<string>(name);
  return env.proxy_define_metric(kind, address, bytesSize, scalarP) == Status.OK ? load<u32>(scalarP) : 0;
}

function read(id: u32): i64 {
  return env.proxy_get_metric(id, scalarP) == Status.OK ? load<i64>(scalarP) : 0;
}

/** Counts up. */
export class Counter {
  private readonly id: u32;

  constructor(name: string) {
    this.id = define(MetricKind.COUNTER, name);
  }
  increment(by: i64 = 1): void {
    env.proxy_increment_metric(this.id, by);
  }
  get value(): i64 {
    return read(this.id);
  }
}

/** Goes up and down. */
export class Gauge {
  private readonly id: u32;

  constructor(name: string) {
    this.id = define(MetricKind.GAUGE, name);
  }
  add(by: i64): void {
    env.proxy_increment_metric(this.id, by);
  }
  set(value: i64): void {
    env.proxy_record_metric(this.id, value);
  }
  get value(): i64 {
    return read(this.id);
  }
}

/** Takes samples. */
export class Histogram {
  private readonly id: u32;

  constructor(name: string) {
    this.id = define(MetricKind.HISTOGRAM, name);
  }
  record(value: i64): void {
    env.proxy_record_metric(this.id, value);
  }
}
