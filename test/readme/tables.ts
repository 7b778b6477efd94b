/** Tables of the README, made from the tables of the code. Run directly, this file writes them into the README. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { IGNORED_FIELDS, SUPPORTED_FIELDS } from "../../runtime/config/rules/support-table.ts";
import { ENDPOINTS } from "../../runtime/control/endpoints.ts";
import { RESPONSE_FLAG_LONG_NAMES, ResponseFlag } from "../../runtime/errors.ts";
import { BUNDLED_FILTERS, NATIVE_EXTENSIONS } from "../../runtime/extensions.ts";
import { FOREIGN_FUNCTIONS } from "../../runtime/wasm/host/foreign.ts";
import { FAILURE_REASONS } from "../../runtime/wasm/instance/failure.ts";
import { DIFFERENCE_KINDS, DIFFERENCES } from "../../runtime/wasm/trial.ts";

export const README = fileURLToPath(new URL("../../README.md", import.meta.url));

/** Name of the marker in the README, and the lines that follow it. */
export function tables(): ReadonlyMap<string, readonly string[]> {
  return new Map([
    ["filters", filterTable()],
    ["fields", fieldTable()],
    ["flags", flagTable()],
    ["admin", adminTable()],
    ["failures", failureTable()],
    ["foreign", foreignTable()],
    ["differences", differenceTable()],
  ]);
}

function filterTable(): string[] {
  const bundled = Object.entries(BUNDLED_FILTERS).map(
    ([type, { name }]) => `| \`${type}\` | \`${name}\`, a bundled module |`,
  );
  const native = Object.entries(NATIVE_EXTENSIONS)
    .filter(([type]) => type.includes(".filters."))
    .map(([type, name]) => `| \`${type}\` | \`${name}\`${type.endsWith(".Wasm") ? ", any module" : ", native"} |`);
  return ["| type | filter |", "|---|---|", ...bundled, ...native];
}

function fieldTable(): string[] {
  const rows: string[] = [];
  for (const [message, used] of SUPPORTED_FIELDS) {
    const ignored = [...(IGNORED_FIELDS.get(message)?.keys() ?? [])].map((field) =>
      field === "*" ? "all others" : field,
    );
    rows.push(`| \`${message}\` | ${[...used].join(", ") || "–"} | ${ignored.join(", ") || "–"} |`);
  }
  return ["| message | fields used | ignored with a warning |", "|---|---|---|", ...rows];
}

function flagTable(): string[] {
  const flags = Object.entries(ResponseFlag).map(([short, bit]) => `${short} ${RESPONSE_FLAG_LONG_NAMES[bit]}`);
  return [`${flags.join(" · ")}.`];
}

function adminTable(): string[] {
  const rows = ENDPOINTS.map(
    ({ path, help, mutates, parameters }) =>
      `| \`${path}\` | ${mutates ? "POST" : "GET"} | ${help}${parameters === undefined ? "" : ` (${parameters.join("; ")})`} |`,
  );
  return ["| path | method | what |", "|---|---|---|", ...rows];
}

function foreignTable(): string[] {
  const rows = [...FOREIGN_FUNCTIONS].map(([name, { meaning }]) => `| \`${name}\` | ${meaning} |`);
  return ["| foreign function | argument → result |", "|---|---|", ...rows];
}

function failureTable(): string[] {
  const rows = Object.entries(FAILURE_REASONS).map(([reason, meaning]) => `| \`${reason}\` | ${meaning} |`);
  return ["| reason | what happened |", "|---|---|", ...rows];
}

function differenceTable(): string[] {
  const rows = DIFFERENCE_KINDS.map((kind) => `| \`${kind}\` | ${DIFFERENCES[kind].meaning} |`);
  return ["| kind | what a shadow did otherwise |", "|---|---|", ...rows];
}

/** The README with every table made anew. Throws when a marker is missing. */
export function withTables(readme: string): string {
  let text = readme;
  for (const [name, lines] of tables()) {
    const marker = `<!-- table: ${name} -->`;
    const at = text.indexOf(marker);
    if (at < 0) throw new Error(`README.md has no marker ${marker}`);
    const from = at + marker.length;
    // The old table: lines that begin with a bar, or the one line of flags.
    const old = text.slice(from).match(/^\n*(?:(?:\||LH ).*\n)*\n*/)?.[0] ?? "";
    text = `${text.slice(0, from)}\n\n${lines.join("\n")}\n\n${text.slice(from + old.length)}`;
  }
  return text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(README, withTables(readFileSync(README, "utf8")));
}
