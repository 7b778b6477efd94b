import { readFileSync } from "node:fs";

/** `sluice/<version>/node-<version>`: for `--version` and admin. */
export function versionText(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return `sluice/${manifest.version}/node-${process.versions.node}`;
}
