/** The programs that read and change the kernel's tables: iptables of either family and backend, and ip. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { ProxyError } from "../errors.ts";
import { XTABLES_LOCK_S } from "../limits.ts";
import { linkCommands, NO_RULES, ownRules, TABLES, transition } from "./sidecar-rules.ts";
import type { Backend, Link, Rules, Table, TableRules } from "./sidecar-rules.ts";

/** Debian keeps iptables and ip where only root looks. */
const ENVIRONMENT = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` };
const WAIT = ["-w", String(XTABLES_LOCK_S)];

/** What is in force of ours in one family. */
export interface InForce {
  readonly tables: ReadonlyMap<Table, TableRules>;
  readonly links: readonly Link[];
}

/** One family's tables, as one iptables sees them. */
export class Tables {
  readonly family: 4 | 6;
  /** As it is called: `ip6tables`, `iptables-legacy`. */
  readonly program: string;

  constructor(family: 4 | 6, program: string) {
    this.family = family;
    this.program = program;
  }

  /** Our rules. Throws ProxyError IPTABLES when the program is not there or cannot read the kernel's tables. */
  read(table: Table): TableRules {
    return ownRules(run(this.program, [...WAIT, "-t", table, "-S"]).stdout);
  }

  inForce(): InForce {
    return { tables: new Map(TABLES.map((table) => [table, this.read(table)])), links: this.#linksInForce() };
  }

  /** Makes rules and links others. Each table changes at once or not at all; throws ProxyError IPTABLES. */
  change(wanted: InForce): void {
    const now = this.inForce();
    const { family } = this;
    // Rules that need a link find it.
    for (const link of wanted.links)
      if (!now.links.includes(link) && !this.#without(link)) run("ip", linkCommands(link, family).add);
    for (const table of TABLES) {
      const text = transition(table, now.tables.get(table) ?? NO_RULES, wanted.tables.get(table) ?? NO_RULES);
      if (text !== "") run(`${this.program}-restore`, [...WAIT, "--noflush"], text);
    }
    for (const link of now.links) if (!wanted.links.includes(link)) run("ip", linkCommands(link, family).remove);
  }

  /** What of the rules is not in force as it should be, as sentences without subject. */
  complaints({ tables, links }: Rules): string[] {
    const wrong: string[] = [];
    for (const [table, wanted] of tables) {
      const there = this.read(table).rules;
      const missing = wanted.rules.filter((rule) => !this.#has(table, rule));
      if (missing.length > 0 && there.length === 0)
        wrong.push(`table ${table}: none of the ${missing.length} rules is there`);
      else for (const rule of missing) wrong.push(`table ${table}: ${rule} is missing`);
      const more = there.length - (wanted.rules.length - missing.length);
      if (more > 0) wrong.push(`table ${table}: ${more} other rules of ours`);
    }
    const linked = this.#linksInForce();
    for (const link of links)
      if (!linked.includes(link) && !this.#without(link))
        wrong.push(`ip ${linkCommands(link, this.family).add.join(" ")} is missing`);
    return wrong;
  }

  #has(table: Table, rule: string): boolean {
    const [, ...words] = rule.split(" ");
    return attempt(this.program, [...WAIT, "-t", table, "-C", ...words]).status === 0;
  }

  #linksInForce(): Link[] {
    return (["route", "rule", "address"] as const).filter((link) => {
      if (link === "address" && this.family === 4) return false;
      const { show, there } = linkCommands(link, this.family);
      // A routing table that nobody has used yet is an error to ip.
      return there.test(attempt("ip", show).stdout);
    });
  }

  /** Where loopback has no IPv6 (Docker's default), nothing that comes in needs an address of it. */
  #without(link: Link): boolean {
    return link === "address" && setting("/proc/sys/net/ipv6/conf/lo/disable_ipv6") === "1";
  }
}

/** The iptables to use for a family. Throws ProxyError IPTABLES with what each one said. */
export function chooseTables(family: 4 | 6, backend: Backend): Tables {
  const plain = plainName(family);
  const candidates = backend === "auto" ? [plain, `${plain}-nft`, `${plain}-legacy`] : [`${plain}-${backend}`];
  const failures: ProxyError[] = [];
  for (const program of candidates) {
    const tables = new Tables(family, program);
    try {
      for (const table of TABLES) tables.read(table);
      return tables;
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      failures.push(error);
    }
  }
  throw failures[0]!;
}

/**
 * The tables of the other backend, when it has rules of ours: from an apply with another iptables, as on a machine whose
 * alternative was changed. Null: it has none.
 */
export function otherTables({ family, program }: Tables): Tables | null {
  const legacy = attempt(program, ["-V"]).stdout.includes("legacy");
  // To ask the legacy program makes its tables; where there are none, the kernel says so for nothing.
  const made = setting(`/proc/net/ip${family === 6 ? "6" : ""}_tables_names`).split("\n");
  if (!legacy && !TABLES.some((table) => made.includes(table))) return null;
  const other = new Tables(family, `${plainName(family)}-${legacy ? "nft" : "legacy"}`);
  try {
    return TABLES.some((table) => other.read(table).chains.length > 0) ? other : null;
  } catch (error) {
    // It is not installed, or the kernel does not know it: then it has no rules either.
    if (error instanceof ProxyError) return null;
    throw error;
  }
}

function plainName(family: 4 | 6): string {
  return family === 4 ? "iptables" : "ip6tables";
}

function setting(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

interface Done {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, args: readonly string[], input = ""): Done {
  const done = attempt(program, args, input);
  if (done.status === 0) return done;
  const why = done.stderr.trim() || `ended with ${done.status}`;
  throw new ProxyError("IPTABLES", "config", `${program} ${args.join(" ")}: ${why}${hint(program, why)}`);
}

/** What the operator can do about it. */
function hint(program: string, why: string): string {
  if (/permission denied|not permitted/i.test(why))
    return " (root has no CAP_NET_ADMIN here: a container needs it as capability NET_ADMIN, with the legacy iptables NET_RAW as well)";
  if (program.startsWith("ip6") && /generation id|address family/i.test(why))
    return " (where there is no IPv6, --no-ipv6 leaves it out)";
  if (/insmod|no such file|not supported|missing kernel module|no chain.target.match|load match|load target/i.test(why))
    return (
      " (the kernel lacks a module: nf_tables with nft_compat, or iptable_nat; xt_owner, xt_REDIRECT, xt_conntrack; for TPROXY also xt_TPROXY, " +
      `xt_socket, xt_mark; modprobe loads them on the machine itself${program.startsWith("ip6") ? "; --no-ipv6 leaves IPv6 out" : ""})`
    );
  return "";
}

function attempt(program: string, args: readonly string[], input = ""): Done {
  const done = spawnSync(program, args, { env: ENVIRONMENT, encoding: "utf8", input });
  // A program that fails before it has read all of its input says why itself.
  const failure: NodeJS.ErrnoException | undefined = done.error;
  const unread = failure?.code === "EPIPE" && done.status !== null;
  if (failure !== undefined && !unread)
    throw new ProxyError(
      "IPTABLES",
      "config",
      `cannot run ${program}: ${failure.code === "ENOENT" ? `it is not installed (on Debian: apt install ${program === "ip" ? "iproute2" : "iptables"})` : failure.message}`,
      failure,
    );
  return { status: done.status ?? 1, stdout: done.stdout, stderr: done.stderr };
}
