/**
 * What a certificate says: subject, issuer, serial number, times and alternative names, read off its DER (RFC 5280).
 * OpenSSL has parsed and checked it before; its own texts of names cannot be told apart from what a name contains.
 */
import { createHash, X509Certificate } from "node:crypto";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";

import { canonicalIp } from "../observe/ip-mask.ts";
import type { CertificateFacts, SanKind } from "../observe/stream-info.ts";
import { dottedOid, type Element, elementsOf, firstElement, integer, stringText, Tag, timeMillis } from "./der.ts";

/** Bits of the extension for key usage. */
export const KeyUsage = { DIGITAL_SIGNATURE: 0x80, KEY_ENCIPHERMENT: 0x20 } as const;

/** One alternative name. */
export interface AlternativeName {
  readonly type: SanKind;
  readonly value: string;
  /** Of OTHER_NAME. */
  readonly oid: string;
}

const ALTERNATIVE_NAMES = "2.5.29.17";
const KEY_USAGE = "2.5.29.15";
const TLS_FEATURES = "1.3.6.1.5.5.7.1.24";
/** The number of the TLS extension that asks for an OCSP response. */
const STATUS_REQUEST = 5;
const COMMON_NAME = "2.5.4.3";

/** Short names of attribute types, as OpenSSL prints them; others appear in dotted form. */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  [COMMON_NAME]: "CN",
  "2.5.4.4": "SN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.9": "street",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "2.5.4.12": "title",
  "2.5.4.13": "description",
  "2.5.4.15": "businessCategory",
  "2.5.4.17": "postalCode",
  "2.5.4.41": "name",
  "2.5.4.42": "GN",
  "2.5.4.43": "initials",
  "2.5.4.46": "dnQualifier",
  "2.5.4.65": "pseudonym",
  "2.5.4.97": "organizationIdentifier",
  "0.9.2342.19200300.100.1.1": "UID",
  "0.9.2342.19200300.100.1.25": "DC",
  "1.2.840.113549.1.9.1": "emailAddress",
};

/** GeneralName, by its context tag (RFC 5280 section 4.2.1.6). */
const NAME_TAGS: Readonly<Record<number, SanKind>> = {
  0xa0: "OTHER_NAME",
  0x81: "EMAIL",
  0x82: "DNS",
  0x86: "URI",
  0x87: "IP_ADDRESS",
};

export class Certificate implements CertificateFacts {
  readonly der: Buffer;
  readonly #fields: readonly Element[];
  #names: readonly AlternativeName[] | null = null;

  constructor(der: Buffer) {
    this.der = der;
    const signed = elementsOf(firstElement(der))[0];
    const fields = signed === undefined ? [] : elementsOf(signed);
    // The version is optional and tagged [0]; what follows it is fixed.
    this.#fields = fields[0]?.tag === 0xa0 ? fields.slice(1) : fields;
  }

  /** The issuer's name as it stands there. */
  get issuerDer(): Buffer {
    return this.#fields[2]?.whole ?? Buffer.alloc(0);
  }
  /** Lower-case hexadecimal without leading zeros. */
  get serial(): string {
    const text = this.#fields[0]?.content.toString("hex") ?? "";
    return text.replace(/^(?:00)+(?=.)/, "");
  }
  /** RFC 2253: the last attribute first. */
  get subject(): string {
    return nameText(this.#fields[4]);
  }
  get issuer(): string {
    return nameText(this.#fields[2]);
  }
  /** Milliseconds since the epoch. */
  get notBeforeMs(): number {
    return timeMillis(elementsOf(this.#validity)[0]);
  }
  get notAfterMs(): number {
    return timeMillis(elementsOf(this.#validity)[1]);
  }
  get sha256(): string {
    return createHash("sha256").update(this.der).digest("hex");
  }
  get sha1(): string {
    return createHash("sha1").update(this.der).digest("hex");
  }
  /** SHA-256 of the subject's key with its algorithm, in base64. */
  get spkiHash(): string {
    return createHash("sha256")
      .update(this.#fields[5]?.whole ?? "")
      .digest("base64");
  }
  get pem(): string {
    const lines = this.der.toString("base64").match(/.{1,64}/g) ?? [];
    return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  }

  /** True when a TLS server must have a fresh OCSP response to show (RFC 7633). */
  get mustStaple(): boolean {
    const value = extension(this.#fields, TLS_FEATURES);
    return value !== undefined && elementsOf(value).some((feature) => integer(feature) === STATUS_REQUEST);
  }

  /** True when the extension for key usage is there and has none of the bits that are asked for (RFC 5280 section 4.2.1.3). */
  forbids(usage: number): boolean {
    const value = extension(this.#fields, KEY_USAGE);
    return value?.tag === Tag.BIT_STRING && ((value.content[1] ?? 0) & usage) === 0;
  }

  /** Alternative names in their order. */
  get names(): readonly AlternativeName[] {
    this.#names ??= alternativeNames(this.#fields);
    return this.#names;
  }

  namesOf(type: SanKind): string[] {
    return this.names.filter((name) => name.type === type).map((name) => name.value);
  }

  /** The names of servers that it stands for, in lower case: DNS names, or the common name where there are none. */
  get serverNames(): string[] {
    const names = this.namesOf("DNS");
    const found = names.length > 0 ? names : commonNames(this.#fields[4]);
    return found.map((name) => name.toLowerCase());
  }

  get #validity(): Element {
    return this.#fields[3] ?? firstElement(Buffer.alloc(0));
  }
}

/** The certificates of a PEM text, in their order; text between them is skipped. Throws what `node:crypto` throws on a bad one. */
export function pemCertificates(pem: Uint8Array): X509Certificate[] {
  const text = Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength).toString("latin1");
  const blocks = text.match(
    /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g,
  );
  return (blocks ?? []).map((block) => new X509Certificate(block));
}

/** The certificate that the other side has shown and those that it leads to, as far as they were shown or are trusted here. */
export function shownChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  // The last one is its own issuer.
  for (let at: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true); at?.raw !== undefined;) {
    if (chain.at(-1)?.equals(at.raw) === true) break;
    chain.push(at.raw);
    at = at.issuerCertificate;
  }
  return chain;
}

/** True when a DNS name of a certificate covers a host: exactly, or with `*` for its first label (RFC 9525 section 6.3). */
export function coversHost(name: string, host: string): boolean {
  const [pattern, wanted] = [name.toLowerCase(), host.toLowerCase()];
  if (pattern === wanted) return true;
  if (!pattern.startsWith("*.")) return false;
  const dot = wanted.indexOf(".");
  return dot > 0 && wanted.slice(dot) === pattern.slice(1);
}

function commonNames(name: Element | undefined): string[] {
  const found: string[] = [];
  for (const set of name === undefined ? [] : elementsOf(name)) {
    for (const attribute of elementsOf(set)) {
      const [type, value] = elementsOf(attribute);
      if (dottedOid(type) === COMMON_NAME && value !== undefined) found.push(stringText(value));
    }
  }
  return found.slice(0, 1);
}

function nameText(name: Element | undefined): string {
  const sets = name === undefined ? [] : elementsOf(name);
  return sets
    .toReversed()
    .map((set) => elementsOf(set).map(attributeText).join("+"))
    .join(",");
}

function attributeText(attribute: Element): string {
  const [type, value] = elementsOf(attribute);
  const oid = dottedOid(type);
  const name = ATTRIBUTES[oid];
  if (value === undefined) return `${name ?? oid}=`;
  // RFC 2253 section 2.4: a type without a name has its value in hexadecimal.
  return name === undefined
    ? `${oid}=#${value.whole.toString("hex").toUpperCase()}`
    : `${name}=${escaped(stringText(value))}`;
}

/** RFC 2253 section 2.4; what is not ASCII or cannot be printed is written byte by byte. */
function escaped(text: string): string {
  let out = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const char = String.fromCharCode(byte);
    if (byte < 0x20 || byte > 0x7e) out += `\\${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    else out += /[,+"\\<>;]/.test(char) ? `\\${char}` : char;
  }
  if (/^[ #]/.test(out)) out = `\\${out}`;
  return out.length > 1 && out.endsWith(" ") ? `${out.slice(0, -1)}\\ ` : out;
}

function alternativeNames(fields: readonly Element[]): AlternativeName[] {
  const value = extension(fields, ALTERNATIVE_NAMES);
  return value === undefined ? [] : elementsOf(value).flatMap((name) => alternativeName(name) ?? []);
}

/** What an extension holds. */
function extension(fields: readonly Element[], oid: string): Element | undefined {
  const wrapped = fields.find((field) => field.tag === 0xa3);
  const list = wrapped === undefined ? undefined : elementsOf(wrapped)[0];
  for (const one of list === undefined ? [] : elementsOf(list)) {
    const parts = elementsOf(one);
    if (dottedOid(parts[0]) !== oid) continue;
    const value = parts.at(-1);
    return value?.tag === Tag.OCTET_STRING ? firstElement(value.content) : undefined;
  }
  return undefined;
}

function alternativeName(element: Element): AlternativeName | undefined {
  const type = NAME_TAGS[element.tag];
  if (type === undefined) return undefined;
  if (type === "IP_ADDRESS") return { type, value: ipText(element.content), oid: "" };
  if (type !== "OTHER_NAME") return { type, value: element.content.toString("latin1"), oid: "" };
  const [id, wrapped] = elementsOf(element);
  const value = wrapped === undefined ? undefined : elementsOf(wrapped)[0];
  return { type, value: value === undefined ? "" : stringText(value), oid: dottedOid(id) };
}

function ipText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return "";
  const groups: string[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(bytes.readUInt16BE(at).toString(16));
  return canonicalIp(groups.join(":"));
}
