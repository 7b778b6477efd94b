/** Fingerprints of a TLS hello: JA3 (salesforce/ja3) and JA4 (FoxIO-LLC/ja4, its TLS client part). */
import { createHash } from "node:crypto";
import { Extension } from "./client-hello.ts";
import type { ClientHello } from "./client-hello.ts";

/** RFC 8701: values that are there to be ignored, 0x0a0a to 0xfafa. */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}

function plain(values: readonly number[]): number[] {
  return values.filter((value) => !isGrease(value));
}

/** In hexadecimal; from the fields as they stand in the hello. */
export function ja3(hello: ClientHello): string {
  const parts = [plain(hello.ciphers), plain(hello.extensions), plain(hello.groups), hello.pointFormats];
  const text = [hello.legacyVersion, ...parts.map((values) => values.join("-"))].join();
  return createHash("md5").update(text).digest("hex");
}

/** JA4 of the versions of TLS, by their numbers on the wire. */
const VERSIONS: Readonly<Record<number, string>> = {
  0x0304: "13",
  0x0303: "12",
  0x0302: "11",
  0x0301: "10",
  0x0300: "s3",
};
/** `t13d1516h2_…_…`: from sorted fields, so that browsers that shuffle them look alike. */
export function ja4(hello: ClientHello): string {
  const ciphers = plain(hello.ciphers);
  const extensions = plain(hello.extensions);
  const version = Math.max(...plain(hello.versions), hello.versions.length === 0 ? hello.legacyVersion : 0);
  const name = extensions.includes(Extension.SERVER_NAME) ? "d" : "i";
  const head = `t${VERSIONS[version] ?? "00"}${name}${count(ciphers)}${count(extensions)}${ends(hello.protocols[0])}`;
  const others = sorted(extensions.filter((type) => type !== Extension.SERVER_NAME && type !== Extension.ALPN));
  const signatures =
    hello.signatureAlgorithms.length === 0 ? "" : `_${plain(hello.signatureAlgorithms).map(hex).join()}`;
  return `${head}_${digest(sorted(ciphers))}_${others === "" ? NOTHING : digest(others + signatures)}`;
}

/** What JA4 has in the place of a hash of nothing. */
const NOTHING = "000000000000";

function digest(text: string): string {
  return text === "" ? NOTHING : createHash("sha256").update(text).digest("hex").slice(0, 12);
}

function hex(value: number): string {
  return value.toString(16).padStart(4, "0");
}

function sorted(values: readonly number[]): string {
  return values.map(hex).toSorted().join();
}

function count(values: readonly number[]): string {
  return String(Math.min(99, values.length)).padStart(2, "0");
}

/** First and last character of the first protocol; of their hexadecimal form where they are neither letter nor digit. */
function ends(protocol: string | undefined): string {
  if (protocol === undefined) return "00";
  const [first, last] = [protocol.at(0)!, protocol.at(-1)!];
  if (/^[0-9A-Za-z]{2}$/.test(first + last)) return first + last;
  const bytes = Buffer.from(protocol, "latin1").toString("hex");
  return bytes.at(0)! + bytes.at(-1)!;
}
