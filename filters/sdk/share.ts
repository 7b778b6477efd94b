/** Envoy's fractional percentages, with or without a runtime key. */
import { runtimeFraction } from "./extensions.ts";
import { Text } from "./memory.ts";

/** A share of streams: `numerator` of a denominator of `envoy.type.v3.FractionalPercent` (0: 100, 1: 10,000, 2: 1,000,000). */
export class Share {
  private readonly key: Text;
  private readonly numerator: u32;
  private readonly denominator: u32;

  constructor(numerator: u32, denominatorType: i32, runtimeKey: string = "") {
    this.key = new Text(runtimeKey);
    this.numerator = numerator;
    this.denominator = denominatorType == 0 ? 100 : denominatorType == 1 ? 10000 : 1000000;
  }

  /** True when the current stream is in the share. None and all need no question to the host. */
  holds(): bool {
    if (this.key.length == 0) {
      if (this.numerator == 0) return false;
      if (this.numerator >= this.denominator) return true;
    }
    return runtimeFraction<Text>(this.key, this.numerator, this.denominator);
  }
}
