/** Network parts of addresses, for access logs and rate limit descriptors. */
import { ipFamily } from "./ip-family.ts";

/** `10.1.0.0/16`, `2001:db8::/32`: the address with all bits after the mask cleared. Undefined for what is no IP. */
export function maskIp(ip: string, v4Bits: number, v6Bits: number): string | undefined {
  const family = ipFamily(ip);
  if (family === 4) {
    const bytes = ip.split(".").map(Number);
    return `${clear(bytes, v4Bits, 8).join(".")}/${v4Bits}`;
  }
  if (family === 6) return `${formatIpv6(clear(ipv6Groups(ip), v6Bits, 16))}/${v6Bits}`;
  return undefined;
}

/** The one spelling of an IP address that others are compared with. */
export function canonicalIp(ip: string): string {
  return ip.includes(":") ? formatIpv6(ipv6Groups(ip)) : ip;
}

/** Keeps the first `bits` of numbers that are `width` bits wide each. */
function clear(numbers: readonly number[], bits: number, width: number): number[] {
  return numbers.map((number, index) => {
    const kept = Math.min(width, Math.max(0, bits - index * width));
    return (number >> (width - kept)) << (width - kept);
  });
}

/** The eight 16-bit groups of an IPv6 address. */
export function ipv6Groups(ip: string): number[] {
  const address = ip.split("%", 1)[0]!;
  const [head = "", tail] = address.split("::");
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}

function groups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

/** RFC 5952: lower case, the longest run of two or more zero groups as `::`. */
export function formatIpv6(numbers: readonly number[]): string {
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < numbers.length; start++) {
    let length = 0;
    while (numbers[start + length] === 0) length++;
    if (length > bestLength) [bestStart, bestLength] = [start, length];
  }
  const hex = numbers.map((number) => number.toString(16));
  if (bestStart === -1) return hex.join(":");
  return `${hex.slice(0, bestStart).join(":")}::${hex.slice(bestStart + bestLength).join(":")}`;
}
