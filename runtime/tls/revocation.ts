/**
 * Lists of revoked certificates that are asked about the other side's own certificate alone (`only_verify_leaf_cert_crl`);
 * OpenSSL, as Node uses it, wants a list of every authority of the chain (RFC 5280 section 5).
 */
import { verify, type X509Certificate } from "node:crypto";
import type { Certificate } from "./certificate.ts";
import { dottedOid, type Element, elementsOf, firstElement, Tag, timeMillis } from "./der.ts";
import { badTls } from "./openssl.ts";

/** OpenSSL's word for what is wrong, as Node has it. */
export type RevocationCode =
  | "CERT_REVOKED"
  | "UNABLE_TO_GET_CRL"
  | "CRL_SIGNATURE_FAILURE"
  | "CRL_NOT_YET_VALID"
  | "CRL_HAS_EXPIRED";

/** Digests of the signature algorithms that lists are signed with; Ed25519 and Ed448 have their own. */
const DIGESTS: Readonly<Record<string, string | null>> = {
  "1.2.840.113549.1.1.5": "sha1",
  "1.2.840.113549.1.1.11": "sha256",
  "1.2.840.113549.1.1.12": "sha384",
  "1.2.840.113549.1.1.13": "sha512",
  "1.2.840.10045.4.3.2": "sha256",
  "1.2.840.10045.4.3.3": "sha384",
  "1.2.840.10045.4.3.4": "sha512",
  "1.3.101.112": null,
  "1.3.101.113": null,
};

interface RevocationList {
  readonly issuer: Buffer;
  readonly signed: Buffer;
  readonly algorithm: string;
  readonly signature: Buffer;
  readonly thisUpdateMs: number;
  /** NaN: none is told. */
  readonly nextUpdateMs: number;
  /** Serial numbers in hexadecimal without leading zeros. */
  readonly revoked: ReadonlySet<string>;
}

export class LeafRevocation {
  readonly #lists: readonly RevocationList[];
  /** Lists whose signature was found good, by the issuer's fingerprint: a signature is checked once. */
  readonly #good = new Map<RevocationList, string>();

  /** Takes a PEM text. Throws ProxyError `TLS_CONTEXT`. */
  constructor(pem: Buffer) {
    const blocks = pem.toString("latin1").match(/-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----/g) ?? [];
    if (blocks.length === 0) throw badTls("validation_context.crl", "Failed to parse CRL: there is none in PEM form");
    this.#lists = blocks.map((block) => readList(Buffer.from(block.replaceAll(/-----[^-]*-----|\s/g, ""), "base64")));
  }

  /**
   * What the lists say of a certificate; null: nothing. `issuers`: whoever may have issued it. A session that is taken up
   * again shows none; then the lists are believed, which come from the configuration and were checked when it began.
   */
  problemOf(certificate: Certificate, issuers: readonly X509Certificate[], nowMs: number): RevocationCode | null {
    const own = this.#lists.filter(({ issuer }) => issuer.equals(certificate.issuerDer));
    if (own.length === 0) return "UNABLE_TO_GET_CRL";
    const good = own.filter((list) => issuers.length === 0 || issuers.some((one) => this.#isSignedBy(list, one)));
    if (good.length === 0) return "CRL_SIGNATURE_FAILURE";
    if (good.some(({ revoked }) => revoked.has(certificate.serial))) return "CERT_REVOKED";
    const begun = good.filter(({ thisUpdateMs }) => thisUpdateMs <= nowMs);
    if (begun.length === 0) return "CRL_NOT_YET_VALID";
    return begun.every(({ nextUpdateMs }) => nextUpdateMs < nowMs) ? "CRL_HAS_EXPIRED" : null;
  }

  #isSignedBy(list: RevocationList, issuer: X509Certificate): boolean {
    if (this.#good.get(list) === issuer.fingerprint256) return true;
    const digest = DIGESTS[list.algorithm];
    if (digest === undefined) return false;
    const key = issuer.publicKey;
    // A key that cannot make such a signature did not make this one.
    const kind = key.asymmetricKeyType;
    if (digest === null ? kind !== "ed25519" && kind !== "ed448" : kind !== "rsa" && kind !== "ec") return false;
    if (!verify(digest, list.signed, key, list.signature)) return false;
    this.#good.set(list, issuer.fingerprint256);
    return true;
  }
}

/** CertificateList, RFC 5280 section 5.1. */
function readList(der: Buffer): RevocationList {
  const [signed, algorithm, signature] = elementsOf(firstElement(der));
  const fields = signed === undefined ? [] : elementsOf(signed);
  // A version is optional; what follows it is fixed.
  const [, issuer, thisUpdate, ...rest] = fields[0]?.tag === Tag.INTEGER ? fields.slice(1) : fields;
  if (signature === undefined || thisUpdate === undefined || Number.isNaN(timeMillis(thisUpdate)))
    throw badTls("validation_context.crl", "Failed to parse CRL: it is damaged");
  const nextUpdateMs = timeMillis(rest[0]);
  const revoked = Number.isNaN(nextUpdateMs) ? rest[0] : rest[1];
  return {
    issuer: issuer!.whole,
    signed: signed!.whole,
    algorithm: dottedOid(elementsOf(algorithm!)[0]),
    // The first byte of a bit string counts unused bits.
    signature: signature.content.subarray(1),
    thisUpdateMs: timeMillis(thisUpdate),
    nextUpdateMs,
    revoked: new Set(revoked?.tag === Tag.SEQUENCE ? elementsOf(revoked).map(serialOf) : []),
  };
}

function serialOf(entry: Element): string {
  const serial = elementsOf(entry)[0];
  return serial === undefined ? "" : serial.content.toString("hex").replace(/^(?:00)+(?=.)/, "");
}
