/** Sampling by a runtime key, as Envoy's `featureEnabled` does it. */
import type { RuntimeValue } from "../../config/snapshot.ts";

/** True for the configured share of calls: the key's value if it has one (a bare number is a percentage), else the default. */
export function sampled(value: RuntimeValue | undefined, numerator: number, denominator: number): boolean {
  let top = numerator;
  let bottom = denominator;
  if (typeof value === "number") {
    top = value;
    bottom = 100;
  } else if (typeof value === "object") {
    top = value.numerator;
    bottom = value.denominator;
  }
  if (top <= 0) return false;
  return top >= bottom || Math.random() * bottom < top;
}
