/** `sluice sidecar iptables`: prints, applies, removes and checks the rules that lead connections through the proxy. */
import { spawnSync } from "node:child_process";
import { ProxyError } from "../errors.ts";
import { removal, restoreText, sidecarRules, tproxyRoutes } from "./sidecar-rules.ts";
import type { Action, Rules, SidecarOptions } from "./sidecar-rules.ts";

export interface SidecarCommandOptions extends SidecarOptions {
  /** False: rules for IPv4 alone. */
  readonly ipv6: boolean;
}

/** Debian keeps iptables and ip where only root looks. */
const ENVIRONMENT = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` };

/** Returns the exit status. Throws ProxyError SIDECAR_OPTION, or IPTABLES with what the program complained of. */
export function sidecar(action: Action, options: SidecarCommandOptions): number {
  const all = sidecarRules(options).filter(({ family }) => family === 4 || options.ipv6);
  if (action === "print") {
    process.stdout.write(all.map(printed).join("\n"));
    return 0;
  }
  needRoot();
  if (action === "check") return check(all);
  if (action === "remove") {
    for (const rules of all) remove(rules);
    say("removed");
    return 0;
  }
  try {
    for (const rules of all) {
      // The old ones first: applying twice is applying once.
      remove(rules);
      run(`${tool(rules)}-restore`, ["-w", "--noflush"], restoreText(rules));
      for (const route of rules.routes) run("ip", route);
    }
  } catch (error) {
    // Half of the rules would lead connections nowhere.
    for (const rules of all) remove(rules);
    throw error;
  }
  say(
    `applied: inbound to ${options.inboundPort} by ${options.mode}, outbound to ${options.outboundPort}, ${all.map(({ family }) => `IPv${family}`).join(" and ")}`,
  );
  return 0;
}

/** The same as a person, or another tool, would type it. */
function printed(rules: Rules): string {
  const routes = rules.routes.map((route) => `ip ${route.join(" ")}\n`).join("");
  return `# IPv${rules.family}: ${tool(rules)}-restore --noflush\n${restoreText(rules)}${routes}`;
}

/** 0 when each rule is in force, and none of ours beside them. */
function check(all: readonly Rules[]): number {
  const wrong: string[] = [];
  for (const rules of all) {
    const version = `IPv${rules.family}`;
    for (const [table, lines] of rules.tables) {
      for (const line of lines) {
        const rule = line.replace(/^-A /, "").split(" ");
        if (attempt(tool(rules), ["-w", "-t", table, "-C", ...rule]).status !== 0)
          wrong.push(`${version}, table ${table}: ${line} is missing`);
      }
      const { stdout } = attempt(tool(rules), ["-w", "-t", table, "-S"]);
      const there = stdout.split("\n").filter((line) => line.startsWith("-A ") && line.includes("SLUICE_")).length;
      if (there > lines.length) wrong.push(`${version}, table ${table}: ${there - lines.length} other rules of ours`);
    }
    if (rules.routes.length > 0 && !routesInForce(rules)) wrong.push(`${version}: routes of TPROXY are missing`);
  }
  for (const one of wrong) process.stderr.write(`sluice: ${one}\n`);
  if (wrong.length === 0) say("the rules are in force");
  return wrong.length === 0 ? 0 : 1;
}

function routesInForce({ family, routes }: Rules): boolean {
  const version = family === 4 ? "-4" : "-6";
  const table = routes[0]!.at(-1)!;
  const lookup = attempt("ip", [version, "rule", "show"]).stdout.includes(`lookup ${table}`);
  return lookup && attempt("ip", [version, "route", "show", "table", table]).stdout.includes("local");
}

/** Rules and routes of both modes go. */
function remove(rules: Rules): void {
  for (const command of removal()) attempt(tool(rules), command);
  for (const [version, ...route] of tproxyRoutes(rules.family).reverse())
    attempt("ip", [version!, ...route.map((word) => (word === "add" ? "del" : word))]);
}

function tool({ family }: Pick<Rules, "family">): string {
  return family === 4 ? "iptables" : "ip6tables";
}

function run(program: string, args: readonly string[], input = ""): void {
  const { status, stderr } = attempt(program, args, input);
  if (status === 0) return;
  const hint = program.startsWith("ip6") ? " (where there is no IPv6, --no-ipv6 leaves it out)" : "";
  const why = stderr.trim() || `ended with ${status}`;
  throw new ProxyError("IPTABLES", "config", `${program} ${args.join(" ")}: ${why}${hint}`);
}

function attempt(
  program: string,
  args: readonly string[],
  input = "",
): { readonly status: number; readonly stdout: string; readonly stderr: string } {
  const done = spawnSync(program, args, { env: ENVIRONMENT, encoding: "utf8", input });
  // A program that fails before it has read all of its input says why itself.
  const failure: NodeJS.ErrnoException | undefined = done.error;
  const unread = failure?.code === "EPIPE" && done.status !== null;
  if (failure !== undefined && !unread)
    throw new ProxyError(
      "IPTABLES",
      "config",
      `cannot run ${program}: ${failure.code === "ENOENT" ? "it is not installed" : failure.message}`,
      failure,
    );
  return { status: done.status ?? 1, stdout: done.stdout, stderr: done.stderr };
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
