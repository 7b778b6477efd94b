/** `sluice sidecar iptables`: prints, applies, removes and checks the rules that lead connections through the proxy. */
import { spawnSync } from "node:child_process";
import { ProxyError } from "../errors.ts";
import { CHAINS, removal, restoreText, sidecarRules } from "./sidecar-rules.ts";
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
  for (const rules of all) {
    // The old ones first: applying twice is applying once.
    remove(rules);
    run(`${tool(rules)}-restore`, ["-w", "--noflush"], restoreText(rules));
    for (const route of rules.routes) run("ip", route);
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

/** 0 when all chains are there with as many rules as they should have. */
function check(all: readonly Rules[]): number {
  const missing: string[] = [];
  for (const rules of all) {
    for (const [table, lines] of rules.tables) {
      const { status, stdout } = attempt(tool(rules), ["-w", "-t", table, "-S"]);
      const there =
        status === 0 ? stdout.split("\n").filter((line) => line.startsWith("-A ") && line.includes("SLUICE_")) : [];
      if (there.length !== lines.length)
        missing.push(`IPv${rules.family}, table ${table}: ${there.length} of ${lines.length} rules`);
    }
    for (const route of rules.routes) {
      const shown = attempt("ip", [
        route[0]!,
        route[1] === "rule" ? "rule" : "route",
        "show",
        ...(route[1] === "rule" ? [] : ["table", route.at(-1)!]),
      ]);
      if (!shown.stdout.includes(route[1] === "rule" ? `lookup ${route.at(-1)}` : "local"))
        missing.push(`IPv${rules.family}: ip ${route.join(" ")}`);
    }
  }
  for (const one of missing) process.stderr.write(`sluice: missing: ${one}\n`);
  if (missing.length === 0) say("the rules are in force");
  return missing.length === 0 ? 0 : 1;
}

function remove(rules: Rules): void {
  // Rules of the other mode go too.
  const tables = new Map(Object.keys(CHAINS).map((table) => [table, []] as const));
  for (const command of removal({ tables, family: rules.family })) attempt(tool(rules), command);
  for (const [version, ...route] of [...rules.routes].reverse())
    attempt("ip", [version!, ...route.map((word) => (word === "add" ? "del" : word))]);
}

function tool({ family }: Pick<Rules, "family">): string {
  return family === 4 ? "iptables" : "ip6tables";
}

function run(program: string, args: readonly string[], input = ""): void {
  const { status, stderr } = attempt(program, args, input);
  if (status !== 0)
    throw new ProxyError(
      "IPTABLES",
      "config",
      `${program} ${args.join(" ")}: ${stderr.trim() || `ended with ${status}`}`,
    );
}

function attempt(
  program: string,
  args: readonly string[],
  input = "",
): { readonly status: number; readonly stdout: string; readonly stderr: string } {
  const done = spawnSync(program, args, { env: ENVIRONMENT, encoding: "utf8", input });
  if (done.error !== undefined)
    throw new ProxyError(
      "IPTABLES",
      "config",
      `cannot run ${program}: ${(done.error as NodeJS.ErrnoException).code === "ENOENT" ? "it is not installed" : done.error.message}`,
      done.error,
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
