/** Rules of role based access control, compiled to functions over a connection. */
import { ipFamily } from "../observe/ip-family.ts";
import type { MetadataMatcher, RbacMatcher, RbacRules, ValueMatcher } from "../config/network-snapshot.ts";
import type { StringMatcher } from "../config/snapshot.ts";
import { IpRanges } from "../observe/ip-ranges.ts";
import { compileString, type TextTest } from "../observe/match.ts";
import type { StreamInfo } from "../observe/stream-info.ts";
import { wireText } from "../observe/wire-text.ts";
import { stateText } from "./filter-state.ts";

type Test = (stream: StreamInfo) => boolean;

/** What rules say of a connection. */
export interface Verdict {
  readonly allowed: boolean;
  /** The policy that matched; "" when none did. */
  readonly policy: string;
}

/** Compiles rules; policies are tried in the order given, and the first that matches decides. */
export function compileRules(rules: RbacRules): (stream: StreamInfo) => Verdict {
  const policies = rules.policies.map(({ name, match }) => ({ name, test: compile(match) }));
  const { action } = rules;
  return (stream) => {
    const policy = policies.find(({ test }) => test(stream));
    const matched = policy !== undefined;
    return { allowed: action === "LOG" || matched === (action === "ALLOW"), policy: policy?.name ?? "" };
  };
}

function compile(matcher: RbacMatcher): Test {
  switch (matcher.kind) {
    case "and": {
      const tests = matcher.of.map(compile);
      return (stream) => tests.every((test) => test(stream));
    }
    case "or": {
      const tests = matcher.of.map(compile);
      return (stream) => tests.some((test) => test(stream));
    }
    case "not": {
      const test = compile(matcher.of);
      return (stream) => !test(stream);
    }
    case "any":
      return () => true;
    case "never":
      return () => false;
    case "ip":
      return compileIp(matcher.whose, matcher.cidr);
    case "port":
      return ({ connection }) => {
        const { port } = splitAddress(connection.localAddress);
        return port >= matcher.start && port < matcher.end;
      };
    case "server_name": {
      const test = compileString(matcher.name);
      return ({ connection }) => test(wireText(connection.serverName));
    }
    case "filter_state": {
      const test = compileString(matcher.value);
      return (stream) => {
        const value = stateText(stream, matcher.key);
        return value !== undefined && test(wireText(value));
      };
    }
    case "authenticated":
      return compileAuthenticated(matcher.name);
    case "metadata":
      return compileMetadata(matcher.metadata);
  }
}

/** A certificate that nobody has checked names nobody. */
function compileAuthenticated(name: StringMatcher | undefined): Test {
  const test: TextTest = name === undefined ? () => true : compileString(name);
  const passes = (text: string): boolean => test(wireText(text));
  return ({ connection: { secure } }) => {
    if (secure === undefined || secure.peer === null || !secure.peerValidated) return false;
    const { peer } = secure;
    return peer.namesOf("URI").some(passes) || peer.namesOf("DNS").some(passes) || passes(peer.subject);
  };
}

function compileIp(whose: "destination" | "remote" | "direct_remote", cidr: string): Test {
  const ranges = new IpRanges<true>();
  ranges.at(cidr, () => true);
  const inside = (ip: string): boolean => ipFamily(ip) !== 0 && ranges.find(ip) === true;
  switch (whose) {
    case "destination":
      return ({ connection }) => inside(splitAddress(connection.localAddress).ip);
    case "remote":
      return ({ connection }) => inside(connection.remoteIp);
    case "direct_remote":
      return ({ connection }) => inside(connection.directRemoteIp);
  }
}

/** The parts of `ip:port` or `[v6]:port`; port -1 for the path of a pipe. */
function splitAddress(address: string): { ip: string; port: number } {
  const colon = address.lastIndexOf(":");
  const ip = address.slice(0, Math.max(0, colon)).replace(/^\[(.*)\]$/, "$1");
  return ipFamily(ip) === 0 ? { ip: "", port: -1 } : { ip, port: Number(address.slice(colon + 1)) };
}

function compileMetadata({ namespace, path, value, invert }: MetadataMatcher): Test {
  const test = compileValue(value);
  return (stream) => {
    let found: unknown = stream.dynamicMetadata?.get(namespace);
    for (const key of path) {
      const inside = typeof found === "object" && found !== null && !Array.isArray(found) && Object.hasOwn(found, key);
      found = inside ? (found as Record<string, unknown>)[key] : undefined;
    }
    return test(found) !== invert;
  };
}

/** Undefined stands for what is not there. */
type ValueTest = (value: unknown) => boolean;

function compileValue(matcher: ValueMatcher): ValueTest {
  switch (matcher.kind) {
    case "null":
      return (value) => value === null;
    case "bool":
      return (value) => value === matcher.value;
    case "present":
      return (value) => (value !== undefined && value !== null) === matcher.value;
    case "double": {
      const { start, end } = matcher;
      return (value) => typeof value === "number" && (value === start || (value > start && value < end));
    }
    case "string": {
      const test: TextTest = compileString(matcher.string);
      return (value) => typeof value === "string" && test(wireText(value));
    }
    case "one_of": {
      const test = compileValue(matcher.value);
      return (value) => Array.isArray(value) && value.some((member) => test(member));
    }
    case "or": {
      const tests = matcher.of.map(compileValue);
      return (value) => tests.some((test) => test(value));
    }
  }
}
