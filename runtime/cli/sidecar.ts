/** `sluice sidecar iptables`: prints, applies, removes and checks the rules that lead connections through the proxy. */
import { ProxyError } from "../errors.ts";
import { linkCommands, NO_RULES, sidecarRules, transition } from "./sidecar-rules.ts";
import type { Action, Backend, Rules, SidecarOptions } from "./sidecar-rules.ts";
import { chooseTables, otherTables } from "./sidecar-tables.ts";
import type { InForce, Tables } from "./sidecar-tables.ts";

export interface SidecarCommandOptions extends SidecarOptions {
  /** False: rules for IPv4 alone. */
  readonly ipv6: boolean;
  readonly iptables: Backend;
}

const NOTHING: InForce = { tables: new Map(), links: [] };

/** Returns the exit status. Throws ProxyError SIDECAR_OPTION, or IPTABLES with what the program complained of. */
export function sidecar(action: Action, options: SidecarCommandOptions): number {
  const all = sidecarRules(options).filter(({ family }) => family === 4 || options.ipv6);
  if (action === "print") {
    process.stdout.write(all.map(printed).join("\n"));
    return 0;
  }
  needRoot();
  if (action === "remove") {
    say(`removed: ${all.map(({ family }) => remove(family, options.iptables)).join(" and ")}`);
    return 0;
  }
  const planned = all.map((rules) => ({ rules, tables: chooseTables(rules.family, options.iptables) }));
  if (action === "check") return check(planned);
  apply(planned);
  const { mode, inboundPort, outboundPort } = options;
  const programs = planned.map(({ tables }) => named(tables)).join(" and ");
  say(`applied: inbound to ${inboundPort} by ${mode}, outbound to ${outboundPort}, ${programs}`);
  return 0;
}

/** Of either mode and backend. IPv4 comes first: it goes even where there is nothing that removes IPv6's. */
function remove(family: 4 | 6, backend: Backend): string {
  const tables = chooseTables(family, backend);
  tables.change(NOTHING);
  otherTables(tables)?.change(NOTHING);
  return named(tables);
}

function named({ family, program }: Tables): string {
  return `IPv${family} (${program})`;
}

interface Planned {
  readonly rules: Rules;
  readonly tables: Tables;
}

/** All of it, or what was there before: half of the rules would lead connections nowhere. */
function apply(all: readonly Planned[]): void {
  const before = all.map(({ tables }) => tables.inForce());
  try {
    for (const { rules, tables } of all) tables.change(rules);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    const stuck = all.flatMap(({ tables }, at) => putBack(tables, before[at]!));
    if (stuck.length === 0) throw error;
    throw new ProxyError(
      "IPTABLES",
      "config",
      `${error.message}; and what was there before could not be put back: ${stuck.join("; ")}`,
      error,
    );
  }
  for (const { tables } of all) otherTables(tables)?.change({ tables: new Map(), links: tables.inForce().links });
}

/** What hindered it; of tables that cannot be changed at all nothing was changed before, either. */
function putBack(tables: Tables, before: InForce): string[] {
  try {
    tables.change(before);
    return [];
  } catch (error) {
    if (error instanceof ProxyError) return [error.message];
    throw error;
  }
}

/** The same as a person, or another tool, would type it. */
function printed({ family, links, tables }: Rules): string {
  const commands = links.map((link) => `ip ${linkCommands(link, family).add.join(" ")}\n`).join("");
  const texts = [...tables].map(([table, wanted]) => transition(table, NO_RULES, wanted)).join("");
  return `# IPv${family}\n${commands}${family === 4 ? "iptables" : "ip6tables"}-restore --noflush <<'END'\n${texts}END\n`;
}

/** 0 when each rule is in force, and none of ours beside them. */
function check(all: readonly Planned[]): number {
  const wrong = all.flatMap(({ rules, tables }) => {
    const other = otherTables(tables);
    return [...tables.complaints(rules), ...(other === null ? [] : [`rules of ours are in ${other.program}, too`])].map(
      (complaint) => `IPv${tables.family}, ${complaint}`,
    );
  });
  for (const one of wrong) process.stderr.write(`sluice: ${one}\n`);
  if (wrong.length === 0) say("the rules are in force");
  return wrong.length === 0 ? 0 : 1;
}

function needRoot(): void {
  if (process.platform !== "linux")
    throw new ProxyError("IPTABLES", "config", "iptables is Linux's; print works everywhere");
  if (process.getuid?.() !== 0)
    throw new ProxyError(
      "IPTABLES",
      "config",
      "rules are changed by root; run it with sudo, or as an init container with NET_ADMIN",
    );
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
