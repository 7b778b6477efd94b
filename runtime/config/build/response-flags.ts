/** The names of response flags, for filters that name them. */
import { ResponseFlag } from "../../errors.ts";

/** Short names, as Envoy prints them. */
export const RESPONSE_FLAGS: ReadonlySet<string> = new Set(Object.keys(ResponseFlag));
