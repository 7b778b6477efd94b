/** `sluice load`, `promote`, `rollback`, `reload` and `status`: plugins of a running proxy, over its admin interface. */
import { shownLines } from "../observe/wire-text.ts";
import { isReference } from "../registry/reference.ts";
import { readModuleFile } from "../wasm/module/module-file.ts";
import { answerJson, askAdmin } from "./admin-client.ts";
import type { AdminOptions } from "./admin-client.ts";
import { statusText } from "./plugin-status-text.ts";
import type { PluginJson } from "./plugin-status-text.ts";

export interface ChangeOptions extends AdminOptions {
  /** The outcome as JSON. */
  readonly json?: boolean;
}

export interface LoadFileOptions extends ChangeOptions {
  readonly percent?: number;
  readonly header?: string;
  readonly headerPercent?: number;
  readonly sticky?: boolean;
  readonly shadow?: boolean;
  readonly now?: boolean;
  readonly rehearse: boolean;
  readonly watch: boolean;
}

interface OutcomeJson {
  readonly plugins: readonly string[];
  readonly places?: number;
  /** Of a reload. */
  readonly changes?: readonly string[];
  readonly number: number;
  readonly version: string;
  readonly sha256: string;
  readonly state: string;
  readonly prepare_ms: number;
  readonly swap_ms: number;
}

/** Returns the exit status; on success every worker serves, or tries, the module. */
export function load(plugin: string, from: string | undefined, options: LoadFileOptions): Promise<number> {
  const query = new URLSearchParams({ plugin });
  if (options.percent !== undefined) query.set("percent", String(options.percent));
  if (options.header !== undefined) {
    const [name = "", ...value] = options.header.split("=");
    query.set("header", name);
    if (value.length > 0) query.set("header_value", value.join("="));
  }
  if (options.headerPercent !== undefined) query.set("header_percent", String(options.headerPercent));
  for (const flag of ["sticky", "shadow", "now"] as const) if (options[flag] === true) query.set(flag, "");
  if (!options.rehearse) query.set("unrehearsed", "");
  if (!options.watch) query.set("unwatched", "");
  if (from !== undefined && !isReference(from))
    return change(options, `/wasm/load?${query.toString()}`, readModuleFile(from));
  // The proxy fetches it itself, with the credentials, and under the rules, of its configuration.
  query.set("artifact", from ?? "");
  return change(options, `/wasm/load?${query.toString()}`);
}

export function promote(plugin: string, options: ChangeOptions): Promise<number> {
  return change(options, `/wasm/promote?${new URLSearchParams({ plugin }).toString()}`);
}

export function rollback(plugin: string, version: string | undefined, options: ChangeOptions): Promise<number> {
  const query = new URLSearchParams(version === undefined ? { plugin } : { plugin, version });
  return change(options, `/wasm/rollback?${query.toString()}`);
}

export function reload(options: ChangeOptions): Promise<number> {
  return change(options, "/reload");
}

/** Prints what plugins there are. */
export async function status(options: ChangeOptions): Promise<number> {
  const answer = await askAdmin(options, "GET", "/wasm?format=json");
  if (answer.status !== 200) return refuse(answer.body);
  const { plugins } = answerJson<{ readonly plugins: readonly PluginJson[] }>(answer, options, "plugins");
  process.stdout.write(options.json === true ? answer.body : statusText(plugins));
  return 0;
}

async function change(options: ChangeOptions, path: string, body?: Uint8Array): Promise<number> {
  const answer = await askAdmin(options, "POST", path, body);
  if (answer.status !== 200) return refuse(answer.body);
  const outcome = answerJson<OutcomeJson>(answer, options, "plugins");
  process.stdout.write(options.json === true ? answer.body : `${outcomeText(outcome)}\n`);
  return 0;
}

function refuse(reason: string): number {
  process.stderr.write(`sluice: ${shownLines(reason.trimEnd())}\n`);
  return 1;
}

function outcomeText({
  plugins,
  places = 1,
  number,
  version,
  sha256,
  state,
  prepare_ms,
  swap_ms,
  changes,
}: OutcomeJson): string {
  if (state === "unchanged") return "nothing has changed";
  if (changes !== undefined) return shownLines(["the new configuration is in force", ...changes].join("\n"));
  const name = plugins.join(", ");
  const where = places > plugins.length ? ` (in ${places} places)` : "";
  const what = `${name}${where}: version ${number} (${version === "" ? "" : `${version}, `}sha256 ${sha256.slice(0, 12)})`;
  switch (state) {
    case "live":
      return `${what} serves all streams on every worker; built in ${prepare_ms} ms, swapped in ${swap_ms} ms`;
    case "dropped":
      return `${what} was given up`;
    default:
      return `${what} is ${state === "share" ? "on trial" : "a shadow"}; next: sluice status, then sluice promote ${name} or sluice rollback ${name}`;
  }
}
