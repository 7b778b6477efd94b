/** What a module says about itself: the custom section `sluice.manifest`, JSON that our build writes (filters/build/sections.ts). */
import { MAX_MANIFEST_BYTES, MAX_MANIFEST_TEXT } from "../../limits.ts";
import { shownText } from "../../observe/wire-text.ts";
import type { Isolation } from "../../config/snapshot.ts";

/** The part of it that the host uses. Texts are clipped and free of control characters: they go into logs. */
export interface ModuleManifest {
  readonly name: string | undefined;
  readonly version: string | undefined;
  /** Who should share an instance, unless the configuration says it. */
  readonly isolation: Isolation | undefined;
}

const ISOLATIONS: ReadonlySet<unknown> = new Set<Isolation>(["worker", "connection", "stream"]);

/** Reads the section's contents. What is not as expected is left out: a manifest informs, nothing depends on it. */
export function readManifest(section: Uint8Array | undefined): ModuleManifest | undefined {
  if (section === undefined || section.length > MAX_MANIFEST_BYTES) return undefined;
  let manifest: unknown;
  try {
    manifest = JSON.parse(Buffer.from(section).toString("utf8"));
  } catch {
    // Not JSON: as good as no manifest.
    return undefined;
  }
  if (typeof manifest !== "object" || manifest === null) return undefined;
  const { name, version, isolation } = manifest as { name?: unknown; version?: unknown; isolation?: unknown };
  return {
    name: text(name),
    version: text(version),
    isolation: ISOLATIONS.has(isolation) ? (isolation as Isolation) : undefined,
  };
}

function text(value: unknown): string | undefined {
  if (typeof value !== "string" || value === "") return undefined;
  return shownText(value, MAX_MANIFEST_TEXT);
}
