/**
 * PKCS #12 files (RFC 7292): a private key and its certificates under one password. Node can use such a file, but would
 * trust every authority in it, so it is taken apart here and goes on as PEM.
 */
import { createDecipheriv, createHash, createHmac, createPrivateKey, pbkdf2Sync, timingSafeEqual } from "node:crypto";
import { X509Certificate } from "node:crypto";
import { MAX_KEY_ITERATIONS } from "../limits.ts";
import { dottedOid, type Element, elementsOf, firstElement, integer, Tag } from "./der.ts";
import { attempt, badTls } from "./openssl.ts";

/** What a file holds, as PEM: the certificate of the key first. */
export interface KeyStore {
  readonly chain: Buffer;
  readonly key: Buffer;
}

const DATA = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA = "1.2.840.113549.1.7.6";
const BAG = "1.2.840.113549.1.12.10.1.";
const KEY_BAG = `${BAG}1`;
const SHROUDED_KEY_BAG = `${BAG}2`;
const CERTIFICATE_BAG = `${BAG}3`;
const NESTED_BAG = `${BAG}6`;
const X509 = "1.2.840.113549.1.9.22.1";
const PBES2 = "1.2.840.113549.1.5.13";
const PBKDF2 = "1.2.840.113549.1.5.12";
const SHA1_3DES = "1.2.840.113549.1.12.1.3";

const DIGESTS: Readonly<Record<string, string>> = {
  "1.3.14.3.2.26": "sha1",
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
};
/** RFC 8018 appendix B.1.2: pseudorandom functions. */
const KEYED_DIGESTS: Readonly<Record<string, string>> = {
  "1.2.840.113549.2.7": "sha1",
  "1.2.840.113549.2.9": "sha256",
  "1.2.840.113549.2.10": "sha384",
  "1.2.840.113549.2.11": "sha512",
};
const CIPHERS: Readonly<Record<string, readonly [name: string, keyBytes: number]>> = {
  "2.16.840.1.101.3.4.1.2": ["aes-128-cbc", 16],
  "2.16.840.1.101.3.4.1.22": ["aes-192-cbc", 24],
  "2.16.840.1.101.3.4.1.42": ["aes-256-cbc", 32],
  "1.2.840.113549.3.7": ["des-ede3-cbc", 24],
};
/** Block of the digests above, in bytes; RFC 7292 appendix B.2 calls it v. */
const BLOCK_BYTES: Readonly<Record<string, number>> = { sha1: 64, sha256: 64, sha384: 128, sha512: 128 };
/** What derived bytes are for, RFC 7292 appendix B.3. */
const Purpose = { KEY: 1, VECTOR: 2, MAC: 3 } as const;

/** Takes a file apart. Throws ProxyError `TLS_CONTEXT` that names the field `what`. */
export function readKeyStore(der: Buffer, password: string, what: string): KeyStore {
  const [version, content, mac] = elementsOf(firstElement(der));
  const safe = dataOf(content);
  if (version?.tag !== Tag.INTEGER || safe === undefined)
    throw badTls(what, "it is no PKCS #12 file in DER form that a password protects");
  if (mac !== undefined) checkMac(safe, mac, password, what);
  const store = new Contents(password, what);
  for (const part of elementsOf(firstElement(safe))) store.takePart(part);
  return store.finish();
}

/** The bytes of a ContentInfo of plain data. */
function dataOf(info: Element | undefined): Buffer | undefined {
  const [type, wrapped] = info === undefined ? [] : elementsOf(info);
  const content = wrapped === undefined ? undefined : elementsOf(wrapped)[0];
  return dottedOid(type) === DATA && content?.tag === Tag.OCTET_STRING ? content.content : undefined;
}

function checkMac(safe: Buffer, mac: Element, password: string, what: string): void {
  const [info, salt, rounds] = elementsOf(mac);
  const [algorithm, wanted] = info === undefined ? [] : elementsOf(info);
  const digest = DIGESTS[dottedOid(algorithm === undefined ? undefined : elementsOf(algorithm)[0])];
  if (digest === undefined || wanted === undefined || salt === undefined)
    throw badTls(what, "its checksum is of a kind that is not known here (RFC 7292 with SHA-1 or SHA-2 is)");
  const iterations = rounds === undefined ? 1 : roundsOf(rounds, what);
  const bytes = createHash(digest).digest().length;
  const key = derive({ digest, password, salt: salt.content, iterations }, Purpose.MAC, bytes);
  const found = createHmac(digest, key).update(safe).digest();
  if (found.length !== wanted.content.length || !timingSafeEqual(found, wanted.content))
    throw badTls(what, "its password is wrong, or it is damaged");
}

/** The bags of a file, as they are found. */
class Contents {
  readonly #password: string;
  readonly #what: string;
  readonly #certificates: X509Certificate[] = [];
  readonly #keys: Buffer[] = [];

  constructor(password: string, what: string) {
    this.#password = password;
    this.#what = what;
  }

  takePart(part: Element): void {
    const plain = dataOf(part);
    if (plain !== undefined) {
      this.#takeBags(firstElement(plain));
      return;
    }
    const [type, wrapped] = elementsOf(part);
    if (dottedOid(type) !== ENCRYPTED_DATA || wrapped === undefined)
      throw badTls(this.#what, "a part of it is protected by something else than a password");
    const [, encrypted] = elementsOf(firstElement(wrapped.content));
    const [, algorithm, content] = encrypted === undefined ? [] : elementsOf(encrypted);
    this.#takeBags(firstElement(this.#decrypt(algorithm, content)));
  }

  #takeBags(bags: Element): void {
    for (const bag of elementsOf(bags)) {
      const [type, wrapped] = elementsOf(bag);
      const value = wrapped === undefined ? undefined : elementsOf(wrapped)[0];
      if (value === undefined) continue;
      const kind = dottedOid(type);
      if (kind === KEY_BAG) this.#keys.push(this.#pem(value.whole));
      else if (kind === SHROUDED_KEY_BAG) {
        const [algorithm, content] = elementsOf(value);
        this.#keys.push(this.#pem(this.#decrypt(algorithm, content)));
      } else if (kind === CERTIFICATE_BAG) this.#takeCertificate(value);
      else if (kind === NESTED_BAG) this.#takeBags(value);
    }
  }

  #takeCertificate(bag: Element): void {
    const [type, wrapped] = elementsOf(bag);
    const bytes = wrapped === undefined ? undefined : elementsOf(wrapped)[0];
    if (dottedOid(type) !== X509 || bytes === undefined) return;
    this.#certificates.push(attempt(this.#what, () => new X509Certificate(bytes.content)));
  }

  #pem(der: Buffer): Buffer {
    const key = attempt(this.#what, () => createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
    return Buffer.from(key.export({ format: "pem", type: "pkcs8" }));
  }

  #decrypt(algorithm: Element | undefined, content: Element | undefined): Buffer {
    if (algorithm === undefined || content === undefined) throw badTls(this.#what, "it is damaged");
    const { cipher, key, vector } = keyOf(algorithm, this.#password, this.#what);
    return attempt(this.#what, () => {
      const decipher = createDecipheriv(cipher, key, vector);
      return Buffer.concat([decipher.update(content.content), decipher.final()]);
    });
  }

  /** The key's own certificate, then the others in the order in which each is the issuer of the one before. */
  finish(): KeyStore {
    const [key, ...more] = this.#keys;
    if (key === undefined || more.length > 0)
      throw badTls(this.#what, `it holds ${this.#keys.length} private keys, and one is needed`);
    const secret = createPrivateKey(key);
    const left = [...this.#certificates];
    const own = left.findIndex((one) => one.checkPrivateKey(secret));
    if (own < 0) throw badTls(this.#what, "no certificate in it belongs to the private key");
    const chain = left.splice(own, 1);
    for (;;) {
      const issuer = left.findIndex((one) => chain.at(-1)!.checkIssued(one));
      if (issuer < 0) break;
      chain.push(...left.splice(issuer, 1));
    }
    return { chain: Buffer.from(chain.map((one) => one.toString()).join("")), key };
  }
}

interface Derivation {
  readonly digest: string;
  readonly password: string;
  readonly salt: Buffer;
  readonly iterations: number;
}

function keyOf(
  algorithm: Element,
  password: string,
  what: string,
): { readonly cipher: string; readonly key: Buffer; readonly vector: Buffer } {
  const [type, parameters] = elementsOf(algorithm);
  const [first, second] = parameters === undefined ? [] : elementsOf(parameters);
  if (dottedOid(type) === SHA1_3DES && first !== undefined && second !== undefined) {
    const given = { digest: "sha1", password, salt: first.content, iterations: roundsOf(second, what) };
    return { cipher: "des-ede3-cbc", key: derive(given, Purpose.KEY, 24), vector: derive(given, Purpose.VECTOR, 8) };
  }
  const [derivation, settings] = first === undefined ? [] : elementsOf(first);
  const [cipherType, vector] = second === undefined ? [] : elementsOf(second);
  const cipher = CIPHERS[dottedOid(cipherType)];
  const known = dottedOid(type) === PBES2 && dottedOid(derivation) === PBKDF2;
  if (!known || cipher === undefined || settings === undefined || vector === undefined)
    throw badTls(
      what,
      `it is encrypted with ${dottedOid(type)}; PBES2 with AES, and SHA-1 with 3DES can be read (write it anew with openssl pkcs12 -export)`,
    );
  const [salt, rounds, ...rest] = elementsOf(settings);
  const keyed = rest.find(({ tag }) => tag === Tag.SEQUENCE);
  const digest = keyed === undefined ? "sha1" : KEYED_DIGESTS[dottedOid(elementsOf(keyed)[0])];
  if (digest === undefined || salt === undefined || rounds === undefined) throw badTls(what, "it is damaged");
  const key = pbkdf2Sync(password, salt.content, roundsOf(rounds, what), cipher[1], digest);
  return { cipher: cipher[0], key, vector: vector.content };
}

/** A file may ask for any number of rounds; whoever wrote it must not keep us busy for ever. */
function roundsOf(element: Element, what: string): number {
  const rounds = integer(element);
  if (rounds < 1 || rounds > MAX_KEY_ITERATIONS)
    throw badTls(what, `it wants ${rounds} rounds of its key derivation, more than ${MAX_KEY_ITERATIONS}`);
  return rounds;
}

/** RFC 7292 appendix B.2: bytes for one purpose from password and salt. */
function derive({ digest, password, salt, iterations }: Derivation, purpose: number, wanted: number): Buffer {
  const block = BLOCK_BYTES[digest]!;
  // BMPString with two zero bytes at its end.
  const text = Buffer.from(`${password}\0`, "utf16le").swap16();
  const input = Buffer.concat([stretched(salt, block), stretched(text, block)]);
  const made: Buffer[] = [];
  for (let bytes = 0; bytes < wanted;) {
    let piece = createHash(digest).update(Buffer.alloc(block, purpose)).update(input).digest();
    for (let round = 1; round < iterations; round++) piece = createHash(digest).update(piece).digest();
    made.push(piece);
    bytes += piece.length;
    addEach(input, stretched(piece, block).subarray(0, block));
  }
  return Buffer.concat(made).subarray(0, wanted);
}

/** Repeated until it fills whole blocks. */
function stretched(bytes: Buffer, block: number): Buffer {
  return bytes.length === 0 ? bytes : Buffer.alloc(Math.ceil(bytes.length / block) * block, bytes);
}

/** Every block of `input` becomes itself + `addend` + 1, as big-endian numbers. */
function addEach(input: Buffer, addend: Buffer): void {
  for (let from = 0; from < input.length; from += addend.length) {
    let carry = 1;
    for (let at = addend.length - 1; at >= 0; at--) {
      carry += input[from + at]! + addend[at]!;
      input[from + at] = carry & 0xff;
      carry >>= 8;
    }
  }
}
