/** The share of requests that a fault hits: a percentage, a runtime key over it, and what a request asks for under it. */
import { runtimeFraction } from "../sdk/extensions.ts";
import { Text } from "../sdk/memory.ts";
import { FractionalPercent } from "./fault.pb.ts";

export class Percent {
  private readonly numerator: u32;
  private readonly denominator: u32;
  private readonly key: Text;

  /** Unset is never. */
  constructor(percentage: FractionalPercent | null, key: Text) {
    this.key = key;
    this.numerator = percentage === null ? 0 : percentage.numerator;
    const kind = percentage === null ? 0 : percentage.denominator;
    this.denominator = kind == 0 ? 100 : kind == 1 ? 10000 : 1000000;
  }

  /** True when the current request is in the share. */
  holds(): bool {
    return runtimeFraction<Text>(this.key, this.numerator, this.denominator);
  }

  /** The same with the numerator that the request asks for, capped by the configured one; negative: it asks for none. */
  holdsCapped(asked: i64): bool {
    if (asked < 0) return this.holds();
    return runtimeFraction<Text>(this.key, <u32>min<i64>(asked, <i64>this.numerator), this.denominator);
  }
}
