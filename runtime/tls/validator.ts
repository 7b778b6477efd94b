/**
 * The check of the other side's certificate, after OpenSSL's own: pins, names, depth, and what a validation
 * context allows all the same (envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext).
 */
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { SanMatcherConfig, SecretSource, TlsValidationConfig } from "../config/tls-snapshot.ts";
import { MAX_VERIFY_DEPTH } from "../limits.ts";
import { compileString } from "../observe/match.ts";
import { wireText } from "../observe/wire-text.ts";
import { type AlternativeName, Certificate, coversHost, shownChain } from "./certificate.ts";
import { asBuffer, badTls, certificatesOf, tlsModule } from "./openssl.ts";
import { LeafRevocation, type RevocationCode } from "./revocation.ts";

/** Gives the current bytes of a source; its own, unless its file has changed since. */
export type ReadSource = (source: SecretSource) => Uint8Array;

/** What was wrong with a certificate: the statistic that counts it, and Envoy's words. */
export interface PeerProblem {
  readonly stat: "failVerifyError" | "failVerifySan" | "failVerifyCertHash";
  readonly details: string;
}

/** X509_verify_cert_error_string(3), by Node's names of the codes. */
const VERIFY_TEXTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "certificate has expired",
  CERT_NOT_YET_VALID: "certificate is not yet valid",
  CERT_REVOKED: "certificate revoked",
  CRL_HAS_EXPIRED: "CRL has expired",
  CRL_NOT_YET_VALID: "CRL is not yet valid",
  UNABLE_TO_GET_CRL: "unable to get certificate CRL",
  CRL_SIGNATURE_FAILURE: "CRL signature failure",
  DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate",
  SELF_SIGNED_CERT_IN_CHAIN: "self-signed certificate in certificate chain",
  UNABLE_TO_GET_ISSUER_CERT: "unable to get issuer certificate",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unable to get local issuer certificate",
  // What BoringSSL finds first; OpenSSL goes on and tells its last finding.
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "unable to get local issuer certificate",
  CERT_SIGNATURE_FAILURE: "certificate signature failure",
  CERT_CHAIN_TOO_LONG: "certificate chain too long",
  INVALID_CA: "invalid CA certificate",
  INVALID_PURPOSE: "unsuitable certificate purpose",
  CERT_UNTRUSTED: "certificate not trusted",
  CERT_REJECTED: "certificate rejected",
};

type NameTest = (name: AlternativeName) => boolean;

export class Validator {
  /** Certificates that chains may end at; empty: chains are not checked. */
  readonly trusted: readonly X509Certificate[];
  /** For OpenSSL, which asks it about every certificate of the chain. */
  readonly crl: Uint8Array | undefined;
  readonly #leafRevocation: LeafRevocation | null;
  readonly acceptUntrusted: boolean;
  readonly #config: TlsValidationConfig;
  readonly #names: readonly NameTest[];

  /** Throws ProxyError `TLS_CONTEXT` that names the bad part. */
  constructor(config: TlsValidationConfig, read: ReadSource) {
    this.#config = config;
    this.acceptUntrusted = config.acceptUntrusted;
    const { trustedCa } = config;
    if (trustedCa !== undefined) this.trusted = certificatesOf(read(trustedCa), "validation_context.trusted_ca");
    else this.trusted = config.systemRoots ? systemRoots() : [];
    const crl = config.crl === undefined ? undefined : read(config.crl);
    this.crl = config.crlOfLeafOnly ? undefined : crl;
    this.#leafRevocation = config.crlOfLeafOnly && crl !== undefined ? new LeafRevocation(asBuffer(crl)) : null;
    this.#names = config.sanMatchers.map(nameTest);
  }

  /** True when the other side must be asked for a certificate at all. */
  get wantsCertificate(): boolean {
    const { spki, hashes } = this.#config;
    return this.trusted.length > 0 || this.#names.length > 0 || spki.length > 0 || hashes.length > 0;
  }

  /**
   * What is wrong with the certificate that the other side has shown; null: nothing. `verdict` is OpenSSL's code
   * for the chain, null when that was right. `host`: a name that the certificate must cover as well, "" for none.
   */
  problemOf(socket: TLSSocket, verdict: string | null, host = ""): PeerProblem | null {
    const shown = socket.getPeerX509Certificate();
    if (shown === undefined) return { stat: "failVerifyError", details: "verify cert failed: empty cert chain" };
    if (this.trusted.length > 0) {
      const problem = this.#chainProblem(socket, verdict);
      if (problem !== null) return problem;
    }
    const certificate = new Certificate(shown.raw);
    if (host !== "" && !certificate.namesOf("DNS").some((name) => coversHost(name, host))) return WRONG_NAME;
    if (this.#names.length > 0 && !certificate.names.some((name) => this.#names.some((test) => test(name))))
      return WRONG_NAME;
    return this.#pinned(certificate) ? null : WRONG_PIN;
  }

  #chainProblem(socket: TLSSocket, verdict: string | null): PeerProblem | null {
    const { maxVerifyDepth, allowExpired } = this.#config;
    const revocation = this.#leafRevocation;
    if (verdict === null && maxVerifyDepth >= MAX_VERIFY_DEPTH && revocation === null) return null;
    const chain = shownChain(socket).map((der) => new X509Certificate(der));
    if (chain.length - 1 > maxVerifyDepth) return chainFailure("CERT_CHAIN_TOO_LONG", chain.length - 1);
    if (verdict === null) {
      const revoked = revocation === null ? null : this.#revocationProblem(chain, revocation);
      return revoked === null ? null : chainFailure(revoked, 0);
    }
    // OpenSSL tells its last finding only, and an expired certificate may be one that nobody trusts as well.
    const forgiven = allowExpired && TIMES.has(verdict) && this.#leadsToTrust(chain);
    return forgiven ? null : chainFailure(verdict, depthOf(verdict, chain));
  }

  #revocationProblem(chain: readonly X509Certificate[], revocation: LeafRevocation): RevocationCode | null {
    const [leaf, ...above] = chain;
    if (leaf === undefined) return null;
    const issuers = [...above, ...this.trusted].filter((one) => leaf.checkIssued(one));
    return revocation.problemOf(new Certificate(leaf.raw), issuers, Date.now());
  }

  #leadsToTrust(chain: readonly X509Certificate[]): boolean {
    for (const [at, certificate] of chain.entries()) {
      const { trusted } = this;
      if (trusted.some((root) => root.fingerprint256 === certificate.fingerprint256 || signed(certificate, root)))
        return true;
      const issuer = chain[at + 1];
      if (issuer === undefined || !issuer.ca || !signed(certificate, issuer)) return false;
    }
    return false;
  }

  #pinned(certificate: Certificate): boolean {
    const { spki, hashes } = this.#config;
    if (spki.length === 0 && hashes.length === 0) return true;
    return spki.includes(certificate.spkiHash) || hashes.includes(certificate.sha256);
  }
}

const WRONG_NAME: PeerProblem = { stat: "failVerifySan", details: "verify cert failed: verify SAN list" };
const WRONG_PIN: PeerProblem = { stat: "failVerifyCertHash", details: "verify cert failed: cert hash and spki" };
const TIMES = new Set(["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"]);

function chainFailure(code: string, depth: number): PeerProblem {
  const text = VERIFY_TEXTS[code] ?? code.toLowerCase().replaceAll("_", " ");
  return {
    stat: "failVerifyError",
    details: `verify cert failed: X509_verify_cert: certificate verification error at depth ${depth}: ${text}`,
  };
}

/** Node gives OpenSSL's code without the depth; most codes leave only one. */
function depthOf(code: string, chain: readonly X509Certificate[]): number {
  const now = Date.now();
  if (code === "SELF_SIGNED_CERT_IN_CHAIN" || code === "UNABLE_TO_GET_ISSUER_CERT") return chain.length - 1;
  const wrong = (one: X509Certificate): boolean =>
    code === "CERT_HAS_EXPIRED" ? one.validToDate.getTime() < now : one.validFromDate.getTime() > now;
  return TIMES.has(code) ? Math.max(0, chain.findIndex(wrong)) : 0;
}

function signed(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function nameTest({ type, matcher, oid }: SanMatcherConfig): NameTest {
  const test = compileString(matcher);
  // A certificate for *.example.com stands for a name that is asked for as such.
  const covering = type === "DNS" && matcher.kind === "exact";
  return (name) => {
    if (name.type !== type || (oid !== "" && name.oid !== oid)) return false;
    return test(wireText(name.value)) || (covering && coversHost(name.value, matcher.value));
  };
}

let systemStore: X509Certificate[] | null = null;

function systemRoots(): X509Certificate[] {
  if (systemStore === null) {
    const found = tlsModule().getCACertificates("system");
    if (found.length === 0)
      throw badTls("validation_context.system_root_certs", "this system has no store of root certificates");
    systemStore = found.flatMap((pem) => certificatesOf(Buffer.from(pem), "system_root_certs"));
  }
  return systemStore;
}
