/**
 * What the ABI and the hosts that filters are written for ask of a host, behaviour by behaviour, and what shows each. The
 * numbers are for people to speak of.
 */
import { CONTEXT_ENTRIES } from "./checklist-contexts.ts";
import { FUNCTION_ENTRIES } from "./checklist-functions.ts";
import type { Entry } from "./evidence.ts";

export const CHECKLIST: readonly Entry[] = [...CONTEXT_ENTRIES, ...FUNCTION_ENTRIES];
