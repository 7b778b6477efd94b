/**
 * iptables rules that lead an application's connections through the proxy beside it: inbound ones to one port, outbound ones
 * to another, the proxy's own excepted. Everything lies in chains with our prefix, so that it can be taken away whole.
 */
import { isIP } from "node:net";
import { ProxyError } from "../errors.ts";
import { MAX_RULE_ITEMS, SIDECAR_SOURCE_V4, SIDECAR_SOURCE_V6 } from "../limits.ts";

/** What can be done with the rules. */
export const ACTIONS = ["print", "apply", "remove", "check"] as const;
export type Action = (typeof ACTIONS)[number];

/** How inbound connections come to the proxy: REDIRECT rewrites their destination, TPROXY leaves it as it is. */
export const MODES = ["REDIRECT", "TPROXY"] as const;

/** Which iptables: the one that the system chose, unless only the other one works here; or one of the two. */
export const BACKENDS = ["auto", "nft", "legacy"] as const;
export type Backend = (typeof BACKENDS)[number];

export interface SidecarOptions {
  readonly mode: (typeof MODES)[number];
  /** Where the proxy takes inbound and outbound connections. */
  readonly inboundPort: number;
  readonly outboundPort: number;
  /** Users and groups whose connections are the proxy's own: numbers. */
  readonly uid: readonly string[];
  readonly gid: readonly string[];
  /** Users and groups whose connections are left alone, as the proxy's own are; numbers. */
  readonly excludeUsers: readonly string[];
  readonly excludeGroups: readonly string[];
  /** Users and groups whose connections alone go out through the proxy; both empty: everybody's. */
  readonly includeUsers: readonly string[];
  readonly includeGroups: readonly string[];
  /** Ports and ranges (`8000:8100`) that are left alone; `*` in the include lists is every port. */
  readonly includeInboundPorts: readonly string[];
  readonly excludeInboundPorts: readonly string[];
  readonly includeOutboundPorts: readonly string[];
  readonly excludeOutboundPorts: readonly string[];
  /** Networks, `ADDRESS/BITS` of either family; `*` is every network. */
  readonly includeOutboundNetworks: readonly string[];
  readonly excludeOutboundNetworks: readonly string[];
  /** Interfaces whose connections are left alone, in either direction. */
  readonly excludeInterfaces: readonly string[];
  /** Packets that belong to no connection (out of its window) are dropped; else they end it with RST. */
  readonly dropInvalid: boolean;
}

/** Our rules of one table: chains, and rules as `iptables-save` writes them, jumps into our chains among them. */
export interface TableRules {
  readonly chains: readonly string[];
  readonly rules: readonly string[];
}

/** Rules of one address family, and what they need beside them. */
export interface Rules {
  readonly family: 4 | 6;
  /** By table, each of {@link TABLES}. */
  readonly tables: ReadonlyMap<Table, TableRules>;
  /** In the order in which they are put in force. */
  readonly links: readonly Link[];
}

/** Routes and addresses that rules need. */
export type Link = "route" | "rule" | "address";

/** Tables that we have rules in. */
export const TABLES = ["nat", "mangle"] as const;
export type Table = (typeof TABLES)[number];

/** What all names of our chains begin with. */
const PREFIX = "SLUICE_";
const IN = `${PREFIX}INBOUND`;
const IN_REDIRECT = `${PREFIX}IN_REDIRECT`;
const OUT = `${PREFIX}OUTPUT`;
const OUT_REDIRECT = `${PREFIX}REDIRECT`;
const DIVERT = `${PREFIX}DIVERT`;
const TPROXY = `${PREFIX}TPROXY`;
const FROM_OUTSIDE = `-A PREROUTING -p tcp -j ${IN}`;
/** Mark and routing table of packets that TPROXY delivers here: the number of the sidecar's user. */
const MARK = "1337";
const ROUTE_TABLE = "133";

/** What differs between the families. */
const FAMILIES = {
  4: { loopback: "127.0.0.0/8", source: `${SIDECAR_SOURCE_V4}/32`, all: "0.0.0.0/0" },
  6: { loopback: "::1/128", source: `${SIDECAR_SOURCE_V6}/128`, all: "::/0" },
} as const;
/** Such an address means something only together with an interface, and none is handed to the proxy. */
const LINK_LOCAL_V6 = "fe80::/10";

/** The rules of both families. Throws ProxyError SIDECAR_OPTION for what is no port, network, interface or user. */
export function sidecarRules(options: SidecarOptions): Rules[] {
  check(options);
  return ([4, 6] as const).map((family) => ({
    family,
    tables: new Map([
      ["nat", natRules(options, family)],
      ["mangle", mangleRules(options, family)],
    ]),
    links: links(options.mode, family),
  }));
}

/** Our rules in what `iptables -S` says of a table. */
export function ownRules(listing: string): TableRules {
  const lines = listing.split("\n");
  const chains = lines.filter((line) => line.startsWith(`-N ${PREFIX}`)).map((line) => line.slice(3));
  return { chains, rules: lines.filter((line) => line.startsWith("-A ") && line.includes(PREFIX)) };
}

/**
 * Text for `iptables-restore --noflush` that makes the rules of a table others, all at once or not at all; "": they are
 * as wanted. Jumps that are there stay where they stand among other people's rules.
 */
export function transition(table: Table, now: TableRules, wanted: TableRules): string {
  if (now.chains.length + now.rules.length + wanted.rules.length === 0) return "";
  const missing = wanted.rules.filter(isJump);
  const gone: string[] = [];
  for (const jump of now.rules.filter(isJump)) {
    const at = missing.indexOf(jump);
    if (at === -1) gone.push(jump);
    else missing.splice(at, 1);
  }
  const needless = now.chains.filter((chain) => !wanted.chains.includes(chain));
  const text = [
    `*${table}`,
    // Makes the chain, or empties it.
    ...wanted.chains.map((chain) => `:${chain} - [0:0]`),
    ...gone.map((jump) => jump.replace(/^-A/, "-D")),
    ...needless.map((chain) => `-F ${chain}`),
    ...wanted.rules.filter((rule) => !isJump(rule)),
    ...missing,
    ...needless.map((chain) => `-X ${chain}`),
    "COMMIT",
  ];
  return `${text.join("\n")}\n`;
}

/** A rule of a chain that is not ours. */
export function isJump(rule: string): boolean {
  return !rule.startsWith(`-A ${PREFIX}`);
}

export const NO_RULES: TableRules = { chains: [], rules: [] };

function natRules(options: SidecarOptions, family: 4 | 6): TableRules {
  const { mode, inboundPort, outboundPort } = options;
  return {
    chains: [IN, IN_REDIRECT, OUT, OUT_REDIRECT],
    rules: [
      `-A ${IN_REDIRECT} -p tcp -j REDIRECT --to-ports ${inboundPort}`,
      `-A ${OUT_REDIRECT} -p tcp -j REDIRECT --to-ports ${outboundPort}`,
      ...inbound(options, family, IN_REDIRECT),
      ...outbound(options, family),
      ...(mode === "REDIRECT" ? [FROM_OUTSIDE] : []),
      `-A OUTPUT -p tcp -j ${OUT}`,
    ],
  };
}

function mangleRules(options: SidecarOptions, family: 4 | 6): TableRules {
  const { mode, inboundPort, excludeInterfaces, dropInvalid } = options;
  const dropped = dropInvalid ? [`-A ${IN} -m conntrack --ctstate INVALID -j DROP`] : [];
  if (mode === "REDIRECT") return dropInvalid ? { chains: [IN], rules: [...dropped, FROM_OUTSIDE] } : NO_RULES;
  return {
    chains: [IN, DIVERT, TPROXY],
    rules: [
      `-A ${DIVERT} -j MARK --set-mark ${MARK}`,
      `-A ${DIVERT} -j ACCEPT`,
      `-A ${TPROXY} -p tcp -j TPROXY --on-port ${inboundPort} --tproxy-mark ${MARK}/0xffffffff`,
      ...excludeInterfaces.map((name) => `-A ${IN} -i ${name} -j RETURN`),
      ...dropped,
      // What belongs to a connection that the proxy has already goes straight to it.
      `-A ${IN} -p tcp -m socket --transparent -j ${DIVERT}`,
      // Answers to the machine's own connections, and what was there before these rules: TPROXY would drop their packets.
      `-A ${IN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN`,
      `-A ${IN} -i lo -j RETURN`,
      ...inbound(options, family, TPROXY),
      FROM_OUTSIDE,
    ],
  };
}

function inbound(options: SidecarOptions, family: 4 | 6, target: string): string[] {
  const { includeInboundPorts, excludeInboundPorts, excludeInterfaces, inboundPort, outboundPort } = options;
  const lines = target === TPROXY ? [] : excludeInterfaces.map((name) => `-A ${IN} -i ${name} -j RETURN`);
  if (family === 6) lines.push(`-A ${IN} -d ${LINK_LOCAL_V6} -j RETURN`);
  // Connections to the proxy's own ports have come where they should.
  for (const port of [inboundPort, outboundPort, ...excludeInboundPorts])
    lines.push(`-A ${IN} -p tcp --dport ${port} -j RETURN`);
  if (includeInboundPorts.includes("*")) lines.push(`-A ${IN} -p tcp -j ${target}`);
  else for (const port of includeInboundPorts) lines.push(`-A ${IN} -p tcp --dport ${port} -j ${target}`);
  return lines;
}

function outbound(options: SidecarOptions, family: 4 | 6): string[] {
  const { includeOutboundPorts, excludeOutboundPorts, includeUsers, includeGroups } = options;
  const { loopback, source } = FAMILIES[family];
  const ofFamily = (networks: readonly string[]): string[] =>
    networks.filter((one) => isIP(one.split("/")[0]!) === family);
  const proxy = owners(options.uid, options.gid);
  const others = owners(options.excludeUsers, options.excludeGroups);
  const lines = [
    ...options.excludeInterfaces.map((name) => `-o ${name} -j RETURN`),
    ...excludeOutboundPorts.map((port) => `-p tcp --dport ${port} -j RETURN`),
    // What has come in through the proxy already, and is on its way to the application.
    `-s ${source} -o lo -j RETURN`,
    // A call of the application that ends at itself comes in like any other.
    ...proxy.map((owner) => `! -d ${loopback} -o lo ${owner} -j ${IN}`),
    ...[...proxy, ...others].map((owner) => `${owner} -j RETURN`),
    // What the application says to itself without a way around stays between its own processes.
    "-o lo -j RETURN",
    ...(family === 6 ? [`-d ${LINK_LOCAL_V6} -j RETURN`] : []),
    ...ofFamily(options.excludeOutboundNetworks).map((network) => `-d ${network} -j RETURN`),
  ];
  const served = owners(includeUsers, includeGroups).map((owner) => owner.replace("--", "! --"));
  if (served.length > 0) lines.push(`${served.join(" ")} -j RETURN`);
  const everywhere = options.includeOutboundNetworks.includes("*");
  const networks = everywhere ? [""] : ofFamily(options.includeOutboundNetworks).map((one) => `-d ${one} `);
  const ports = includeOutboundPorts.includes("*") ? [""] : includeOutboundPorts.map((one) => ` --dport ${one}`);
  for (const network of networks) for (const port of ports) lines.push(`${network}-p tcp${port} -j ${OUT_REDIRECT}`);
  return lines.map((line) => `-A ${OUT} ${line}`);
}

function owners(users: readonly string[], groups: readonly string[]): string[] {
  return [...users.map((one) => `-m owner --uid-owner ${one}`), ...groups.map((one) => `-m owner --gid-owner ${one}`)];
}

function links(mode: SidecarOptions["mode"], family: 4 | 6): Link[] {
  const routes: Link[] = mode === "TPROXY" ? ["route", "rule"] : [];
  // Connections can come from any address of 127.0.0.0/8; of IPv6 only ::1 is there of itself.
  return family === 6 ? [...routes, "address"] : routes;
}

/** Arguments of `ip`: how a link is made, taken away, and asked for, and what the answer says when it is there. */
export function linkCommands(
  link: Link,
  family: 4 | 6,
): { readonly add: string[]; readonly remove: string[]; readonly show: string[]; readonly there: RegExp } {
  const make = (
    object: string,
    words: readonly string[],
    show: readonly string[],
    there: RegExp,
    more: readonly string[] = [],
  ) => ({
    add: [`-${family}`, object, "add", ...words, ...more],
    remove: [`-${family}`, object, "del", ...words],
    show: [`-${family}`, object, "show", ...show],
    there,
  });
  const { all, source } = FAMILIES[family];
  if (link === "address") {
    // Nobody gets it as source address who did not ask for it.
    const there = new RegExp(` ${source} `);
    return make("addr", [source, "dev", "lo"], ["dev", "lo"], there, ["preferred_lft", "0"]);
  }
  if (link === "rule")
    // Packets with the mark are delivered here, whatever address they are for (Linux, Documentation/networking/tproxy).
    return make("rule", ["fwmark", MARK, "lookup", ROUTE_TABLE], [], new RegExp(`lookup ${ROUTE_TABLE}\\b`));
  return make("route", ["local", all, "dev", "lo", "table", ROUTE_TABLE], ["table", ROUTE_TABLE], /^local /m);
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
    (value) => value === "*" || (isNetwork(value) && !isLoopback(value)),
    "network (ADDRESS/BITS) of other machines, or *",
  );
  each("--exclude-outbound-networks", options.excludeOutboundNetworks, isNetwork, "network (ADDRESS/BITS)");
  each("--exclude-interfaces", options.excludeInterfaces, (value) => /^[\w.-]{1,15}\+?$/.test(value), "interface");
  each("--uid", options.uid, isId, "number of a user");
  each("--gid", options.gid, isId, "number of a group");
  each("--exclude-users", options.excludeUsers, isId, "number of a user");
  each("--exclude-groups", options.excludeGroups, isId, "number of a group");
  each("--include-users", options.includeUsers, isId, "number of a user");
  each("--include-groups", options.includeGroups, isId, "number of a group");
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

/** What a machine says to itself is never led through the proxy. */
function isLoopback(network: string): boolean {
  return network.startsWith("127.") || network.split("/")[0] === "::1";
}

function isId(text: string): boolean {
  return /^\d{1,10}$/.test(text) && Number(text) <= 4_294_967_294;
}
