/** Which streams an access log records (Envoy's AccessLogFilter), compiled to one function. */
import type { AccessLogFilter, Snapshot } from "../config/snapshot.ts";
import { RESPONSE_FLAG_LONG_NAMES, ResponseFlag } from "../errors.ts";
import { compileFraction, compileHeader } from "./match.ts";
import type { StreamInfo } from "./stream-info.ts";

export type StreamTest = (info: StreamInfo) => boolean;

/** Compiles a filter; `runtime` holds the values that override its numbers. */
export function compileFilter(filter: AccessLogFilter, runtime: Snapshot["runtime"]): StreamTest {
  switch (filter.kind) {
    case "status_code":
    case "duration":
      return comparison(filter, runtime);
    case "and":
    case "or": {
      const tests = filter.filters.map((part) => compileFilter(part, runtime));
      return filter.kind === "and"
        ? (info) => tests.every((test) => test(info))
        : (info) => tests.some((test) => test(info));
    }
    case "header": {
      const test = compileHeader(filter.header);
      return (info) => info.requestHeaders !== null && test(info.requestHeaders);
    }
    case "response_flag": {
      const mask = filter.flags.reduce((bits, name) => bits | (1 << flagBit(name)), 0);
      return mask === 0 ? (info) => info.flags !== 0 : (info) => (info.flags & mask) !== 0;
    }
    case "runtime": {
      const test = compileFraction(filter.fraction, runtime);
      return (info) => test(info.random());
    }
    case "not_health_check":
      // Health checks are recognised by a filter that this host does not have: no stream is one.
      return () => true;
  }
}

function comparison(
  filter: Extract<AccessLogFilter, { kind: "status_code" | "duration" }>,
  runtime: Snapshot["runtime"],
): StreamTest {
  const override = runtime[filter.runtimeKey];
  const limit = typeof override === "number" ? override : filter.value;
  const read: (info: StreamInfo) => number =
    filter.kind === "status_code"
      ? (info) => info.responseCode
      : (info) => Math.max(0, Math.floor(info.completeMs - info.startMs));
  switch (filter.op) {
    case "EQ":
      return (info) => read(info) === limit;
    case "NE":
      return (info) => read(info) !== limit;
    case "GE":
      return (info) => read(info) >= limit;
    case "LE":
      return (info) => read(info) <= limit;
  }
}

function flagBit(name: string): number {
  const long = RESPONSE_FLAG_LONG_NAMES.indexOf(name);
  return long === -1 ? ResponseFlag[name as keyof typeof ResponseFlag] : long;
}
