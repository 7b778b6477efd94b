// Loaded before the tests of a filter: `sluice/…` is this package, wherever the filter's folder lies.
import { registerHooks } from "node:module";

const ROOT = new URL("../../", import.meta.url);
const TESTKIT = new URL("testkit.ts", import.meta.url).href;

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === "sluice/test") return { url: TESTKIT, shortCircuit: true };
    if (specifier.startsWith("sluice/")) return next(new URL(specifier.slice("sluice/".length), ROOT).href, context);
    return next(specifier, context);
  },
});
