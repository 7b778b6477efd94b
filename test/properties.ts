/**
 * Properties of generated inputs (fast-check) with the same inputs in each run: a test that fails fails again. Other inputs by
 * the environment variable SLUICE_SEED.
 */
import fc from "fast-check";

fc.configureGlobal({ seed: Number(process.env["SLUICE_SEED"] ?? 1) });

export { fc };
