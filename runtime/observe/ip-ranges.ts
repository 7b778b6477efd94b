/** Which of many address ranges an address lies in: the longest prefix wins. */
import { ipv6Groups } from "./ip-mask.ts";

interface Length<T> {
  readonly shift: bigint;
  readonly bits: number;
  readonly ranges: Map<bigint, T>;
}

/** Values by CIDR range; one for each range. */
export class IpRanges<T> {
  /** By family, longest prefixes first. */
  readonly #v4: Length<T>[] = [];
  readonly #v6: Length<T>[] = [];

  /** The value of a range, made by `make` when there is none. `cidr` is `address/bits` with a valid address. */
  at(cidr: string, make: () => T): T {
    const slash = cidr.lastIndexOf("/");
    const ip = cidr.slice(0, slash);
    const bits = Number(cidr.slice(slash + 1));
    const v6 = ip.includes(":");
    const lengths = v6 ? this.#v6 : this.#v4;
    let length = lengths.find((one) => one.bits === bits);
    if (length === undefined) {
      length = { bits, shift: BigInt((v6 ? 128 : 32) - bits), ranges: new Map() };
      lengths.push(length);
      lengths.sort((a, b) => b.bits - a.bits);
    }
    const key = ipNumber(ip) >> length.shift;
    let value = length.ranges.get(key);
    if (value === undefined) {
      value = make();
      length.ranges.set(key, value);
    }
    return value;
  }

  /** The value of the longest range that holds an address; undefined when none does. */
  find(ip: string): T | undefined {
    const lengths = ip.includes(":") ? this.#v6 : this.#v4;
    if (lengths.length === 0) return undefined;
    // Ranges that hold everything are the usual case and need no number.
    if (lengths.length === 1 && lengths[0]!.bits === 0) return lengths[0]!.ranges.get(0n);
    const number = ipNumber(ip);
    for (const { shift, ranges } of lengths) {
      const value = ranges.get(number >> shift);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

function ipNumber(ip: string): bigint {
  let number = 0n;
  if (ip.includes(":")) for (const group of ipv6Groups(ip)) number = (number << 16n) | BigInt(group);
  else for (const byte of ip.split(".")) number = (number << 8n) | BigInt(byte);
  return number;
}
