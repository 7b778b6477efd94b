/** What a foreign function is. */
import type { Instance } from "../../instance/instance.ts";

/** Its result, or a status other than OK with what was wrong. */
export type ForeignResult = Uint8Array | { readonly status: number; readonly why: string };

export interface ForeignFunction {
  /** For people: arguments → result. */
  readonly meaning: string;
  call(instance: Instance, argument: Buffer): ForeignResult;
}

export const NO_RESULT = new Uint8Array(0);
