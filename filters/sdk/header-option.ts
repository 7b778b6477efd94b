/** Envoy's `HeaderValueOption`: a header with the rule what happens when it is there already. Values are literal. */
import { HeaderMap } from "./headers.ts";
import { Text } from "./memory.ts";
import { Pairs } from "./pairs.ts";

/** Values of `HeaderAppendAction`. */
export const APPEND_IF_EXISTS_OR_ADD: i32 = 0;
export const ADD_IF_ABSENT: i32 = 1;
export const OVERWRITE_IF_EXISTS_OR_ADD: i32 = 2;
export const OVERWRITE_IF_EXISTS: i32 = 3;

export class HeaderOption {
  readonly name: Text;
  readonly value: Text;
  readonly action: i32;

  /** `value` may hold `%%` for a percent sign, as in Envoy's format strings. */
  constructor(name: string, value: string, action: i32) {
    this.name = new Text(name.toLowerCase());
    this.value = new Text(value.replaceAll("%%", "%"));
    this.action = action;
  }

  apply(map: HeaderMap): void {
    if (this.action == OVERWRITE_IF_EXISTS_OR_ADD) {
      map.replace<Text, Text>(this.name, this.value);
      return;
    }
    if (this.action != APPEND_IF_EXISTS_OR_ADD) {
      const present = map.has<Text>(this.name);
      if (present == (this.action == ADD_IF_ABSENT)) return;
      if (present) {
        map.replace<Text, Text>(this.name, this.value);
        return;
      }
    }
    map.add<Text, Text>(this.name, this.value);
  }

  /** The same for the headers of a local response, where nothing is there yet. */
  applyTo(pairs: Pairs): void {
    if (this.action != OVERWRITE_IF_EXISTS) pairs.add<Text, Text>(this.name, this.value);
  }
}
