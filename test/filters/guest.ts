/** Builds a guest or bundled filter (cached) and starts it in a scripted host. */
import { fileURLToPath } from "node:url";
import { buildFilter } from "../../filters/build/build.ts";
import { ScriptedHost } from "./scripted-host.ts";

const REPOSITORY = new URL("../../", import.meta.url);

/** A guest of test/guests, or a filter of filters/. */
export async function loadGuest(path: string): Promise<ScriptedHost> {
  const outFolder = fileURLToPath(new URL("build/guests", REPOSITORY));
  const { path: wasm } = await buildFilter(fileURLToPath(new URL(path, REPOSITORY)), { outFolder });
  return new ScriptedHost(wasm);
}
