/**
 * iptables rules that lead an application's connections through the proxy beside it: inbound ones to one port, outbound ones
 * to another, the proxy's own excepted. Everything lies in chains with our prefix, so that it can be taken away whole.
 */
import { isIP } from "node:net";
import { ProxyError } from "../errors.ts";
import { MAX_RULE_ITEMS } from "../limits.ts";

/** What can be done with the rules. */
export const ACTIONS = ["print", "apply", "remove", "check"] as const;
export type Action = (typeof ACTIONS)[number];

/** How inbound connections come to the proxy: REDIRECT rewrites their destination, TPROXY leaves it as it is. */
export const MODES = ["REDIRECT", "TPROXY"] as const;

export interface SidecarOptions {
  readonly mode: (typeof MODES)[number];
  /** Where the proxy takes inbound and outbound connections. */
  readonly inboundPort: number;
  readonly outboundPort: number;
  /** Users and groups whose connections are the proxy's own: numbers. */
  readonly uid: readonly string[];
  readonly gid: readonly string[];
  /** Ports and ranges (`8000:8100`) that are left alone; `*` in the include lists is every port. */
  readonly includeInboundPorts: readonly string[];
  readonly excludeInboundPorts: readonly string[];
  readonly includeOutboundPorts: readonly string[];
  readonly excludeOutboundPorts: readonly string[];
  /** Networks, `ADDRESS/BITS` of either family; `*` is every network. */
  readonly includeOutboundNetworks: readonly string[];
  readonly excludeOutboundNetworks: readonly string[];
  /** Interfaces whose inbound connections are left alone. */
  readonly excludeInterfaces: readonly string[];
}

/** Rules of one address family, as `iptables-restore --noflush` takes them, and routes that TPROXY needs. */
export interface Rules {
  readonly family: 4 | 6;
  /** Lines by table. */
  readonly tables: ReadonlyMap<string, readonly string[]>;
  /** Arguments of `ip`. */
  readonly routes: readonly (readonly string[])[];
}

const IN = "SLUICE_INBOUND";
const IN_REDIRECT = "SLUICE_IN_REDIRECT";
const OUT = "SLUICE_OUTPUT";
const OUT_REDIRECT = "SLUICE_REDIRECT";
const DIVERT = "SLUICE_DIVERT";
const TPROXY = "SLUICE_TPROXY";
/** Our chains by table, and where each table jumps into them. */
const CHAINS: Readonly<Record<string, readonly string[]>> = {
  nat: [IN, IN_REDIRECT, OUT, OUT_REDIRECT],
  mangle: [IN, DIVERT, TPROXY],
};
const JUMPS: Readonly<Record<string, readonly string[]>> = {
  nat: [`PREROUTING -p tcp -j ${IN}`, `OUTPUT -p tcp -j ${OUT}`],
  mangle: [`PREROUTING -p tcp -j ${IN}`],
};
/** Mark and routing table of packets that TPROXY delivers here: the number of the sidecar's user. */
const MARK = 1337;
const ROUTE_TABLE = 133;

/** The rules of both families. Throws ProxyError SIDECAR_OPTION for what is no port, network, interface or user. */
export function sidecarRules(options: SidecarOptions): Rules[] {
  check(options);
  return ([4, 6] as const).map((family) => familyRules(options, family));
}

/** Text for `iptables-restore --noflush`: chains anew, then their rules, all at once or not at all. */
export function restoreText({ tables }: Rules): string {
  const parts: string[] = [];
  for (const [table, lines] of tables) {
    parts.push(`*${table}`, ...CHAINS[table]!.map((chain) => `:${chain} - [0:0]`), ...lines, "COMMIT");
  }
  return `${parts.join("\n")}\n`;
}

/** Arguments of iptables that take the rules of either mode away again; each may fail because it is not there. */
export function removal(): string[][] {
  return Object.keys(CHAINS).flatMap((table) => [
    ...JUMPS[table]!.map((jump) => ["-w", "-t", table, "-D", ...jump.split(" ")]),
    ...CHAINS[table]!.map((chain) => ["-w", "-t", table, "-F", chain]),
    ...CHAINS[table]!.map((chain) => ["-w", "-t", table, "-X", chain]),
  ]);
}

function familyRules(options: SidecarOptions, family: 4 | 6): Rules {
  const nat = outbound(options, family);
  const tables = new Map<string, readonly string[]>();
  if (options.mode === "REDIRECT") {
    nat.unshift(
      ...jumpsTo(IN, "nat"),
      `-A ${IN_REDIRECT} -p tcp -j REDIRECT --to-ports ${options.inboundPort}`,
      ...inbound(options, IN_REDIRECT),
    );
  } else {
    tables.set("mangle", [
      ...jumpsTo(IN, "mangle"),
      `-A ${DIVERT} -j MARK --set-mark ${MARK}`,
      `-A ${DIVERT} -j ACCEPT`,
      `-A ${TPROXY} -p tcp -j TPROXY --on-port ${options.inboundPort} --tproxy-mark ${MARK}/0xffffffff`,
      // What belongs to a connection that the proxy has already goes straight to it.
      `-A ${IN} -p tcp -m socket --transparent -j ${DIVERT}`,
      ...inbound(options, TPROXY),
    ]);
  }
  tables.set("nat", nat);
  return { family, tables, routes: options.mode === "TPROXY" ? tproxyRoutes(family) : [] };
}

function jumpsTo(chain: string, table: string): string[] {
  return JUMPS[table]!.filter((jump) => jump.endsWith(` ${chain}`)).map((jump) => `-A ${jump}`);
}

function inbound(options: SidecarOptions, target: string): string[] {
  const { includeInboundPorts, excludeInboundPorts, excludeInterfaces, inboundPort, outboundPort } = options;
  const lines = excludeInterfaces.map((name) => `-A ${IN} -i ${name} -j RETURN`);
  // Connections to the proxy's own ports have come where they should.
  for (const port of [inboundPort, outboundPort, ...excludeInboundPorts])
    lines.push(`-A ${IN} -p tcp --dport ${port} -j RETURN`);
  if (options.mode === "TPROXY") lines.push(`-A ${IN} -i lo -j RETURN`);
  if (includeInboundPorts.includes("*")) lines.push(`-A ${IN} -p tcp -j ${target}`);
  else for (const port of includeInboundPorts) lines.push(`-A ${IN} -p tcp --dport ${port} -j ${target}`);
  return lines;
}

function outbound(options: SidecarOptions, family: 4 | 6): string[] {
  const { uid, gid, includeOutboundPorts, excludeOutboundPorts, outboundPort } = options;
  const ofFamily = (networks: readonly string[]): string[] =>
    networks.filter((one) => isIP(one.split("/")[0]!) === family);
  const lines = [...jumpsTo(OUT, "nat"), `-A ${OUT_REDIRECT} -p tcp -j REDIRECT --to-ports ${outboundPort}`];
  for (const one of uid) lines.push(`-A ${OUT} -m owner --uid-owner ${one} -j RETURN`);
  for (const one of gid) lines.push(`-A ${OUT} -m owner --gid-owner ${one} -j RETURN`);
  // What the application says to itself stays between its own processes.
  lines.push(`-A ${OUT} -o lo -j RETURN`, `-A ${OUT} -d ${family === 4 ? "127.0.0.0/8" : "::1/128"} -j RETURN`);
  for (const port of excludeOutboundPorts) lines.push(`-A ${OUT} -p tcp --dport ${port} -j RETURN`);
  for (const network of ofFamily(options.excludeOutboundNetworks)) lines.push(`-A ${OUT} -d ${network} -j RETURN`);
  const everywhere = options.includeOutboundNetworks.includes("*");
  const networks = everywhere ? [""] : ofFamily(options.includeOutboundNetworks).map((one) => ` -d ${one}`);
  const ports = includeOutboundPorts.includes("*") ? [""] : includeOutboundPorts.map((one) => ` --dport ${one}`);
  for (const network of networks)
    for (const port of ports) lines.push(`-A ${OUT}${network} -p tcp${port} -j ${OUT_REDIRECT}`);
  return lines;
}

/** Packets with the mark are delivered here, whatever address they are for (Linux, Documentation/networking/tproxy). */
export function tproxyRoutes(family: 4 | 6): string[][] {
  const version = family === 4 ? "-4" : "-6";
  return [
    [version, "rule", "add", "fwmark", String(MARK), "lookup", String(ROUTE_TABLE)],
    [version, "route", "add", "local", family === 4 ? "0.0.0.0/0" : "::/0", "dev", "lo", "table", String(ROUTE_TABLE)],
  ];
}

function check(options: SidecarOptions): void {
  const refuse = (option: string, value: string, what: string): never => {
    throw new ProxyError("SIDECAR_OPTION", "config", `${option}: "${value}" is no ${what}`);
  };
  const each = (option: string, values: readonly string[], good: (value: string) => boolean, what: string): void => {
    if (values.length > MAX_RULE_ITEMS)
      throw new ProxyError("SIDECAR_OPTION", "config", `${option}: more than ${MAX_RULE_ITEMS}`);
    for (const value of values) if (!good(value)) refuse(option, value, what);
  };
  const included = (value: string): boolean => value === "*" || isPorts(value);
  each("--include-inbound-ports", options.includeInboundPorts, included, "port, range or *");
  each("--include-outbound-ports", options.includeOutboundPorts, included, "port, range or *");
  each("--exclude-inbound-ports", options.excludeInboundPorts, isPorts, "port or range");
  each("--exclude-outbound-ports", options.excludeOutboundPorts, isPorts, "port or range");
  each(
    "--include-outbound-networks",
    options.includeOutboundNetworks,
    (value) => value === "*" || isNetwork(value),
    "network (ADDRESS/BITS) or *",
  );
  each("--exclude-outbound-networks", options.excludeOutboundNetworks, isNetwork, "network (ADDRESS/BITS)");
  each("--exclude-interfaces", options.excludeInterfaces, (value) => /^[\w.-]{1,15}\+?$/.test(value), "interface");
  each("--uid", options.uid, isId, "number of a user");
  each("--gid", options.gid, isId, "number of a group");
  for (const [option, port] of [
    ["--inbound-port", options.inboundPort],
    ["--outbound-port", options.outboundPort],
  ] as const)
    if (!isPort(String(port))) refuse(option, String(port), "port");
  if (options.inboundPort === options.outboundPort)
    refuse("--outbound-port", String(options.outboundPort), "other port than that of inbound connections");
}

function isPort(text: string): boolean {
  return /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535;
}

function isPorts(text: string): boolean {
  const [first = "", last, ...more] = text.split(":");
  return more.length === 0 && isPort(first) && (last === undefined || (isPort(last) && Number(first) <= Number(last)));
}

function isNetwork(text: string): boolean {
  const [address = "", bits, ...more] = text.split("/");
  const family = isIP(address);
  if (family === 0 || more.length > 0 || address.includes("%")) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

function isId(text: string): boolean {
  return /^\d{1,10}$/.test(text) && Number(text) <= 4_294_967_294;
}
