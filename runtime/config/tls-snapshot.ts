/** TLS in the snapshot (envoy.extensions.transport_sockets.tls.v3): plain data with final units, secrets read and tried. */
import type { SanKind } from "../observe/stream-info.ts";
import type { StringMatcher } from "./snapshot.ts";

/** Bytes of a configured secret or certificate. */
export interface SecretSource {
  readonly bytes: Uint8Array;
  /** Absolute path of the file that they were read from and are read again from when it changes; "": they are fixed. */
  readonly file: string;
}

/** envoy.extensions.transport_sockets.tls.v3.TlsCertificate. */
export interface TlsCertificateConfig {
  /** `pkcs12`: `chain` and `key` are the same file, which holds both. */
  readonly form: "pem" | "pkcs12";
  /** PEM: the certificate, then the ones that lead to a root. */
  readonly chain: SecretSource;
  readonly key: SecretSource;
  readonly password: SecretSource | undefined;
  /** Name of the secret that it is; absent: it stands in the context itself. */
  readonly secret?: string | undefined;
  /** An OCSP response in DER form that is sent along. */
  readonly ocspStaple: SecretSource | undefined;
}

export interface SanMatcherConfig {
  readonly type: SanKind;
  readonly matcher: StringMatcher;
  /** Of OTHER_NAME, in dotted form; "": any. */
  readonly oid: string;
}

/** envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext. */
export interface TlsValidationConfig {
  readonly trustedCa: SecretSource | undefined;
  /** Name of the secret that it is of; absent: it stands in the context itself. */
  readonly secret?: string | undefined;
  /** system_root_certs: the roots that the runtime ships. */
  readonly systemRoots: boolean;
  readonly crl: SecretSource | undefined;
  /** The list is asked about the other side's own certificate alone, not about every authority above it. */
  readonly crlOfLeafOnly: boolean;
  /** SHA-256 of the key, in base64. A certificate needs one match among these and `hashes`. */
  readonly spki: readonly string[];
  /** SHA-256 of the certificate, lower-case hexadecimal without colons. */
  readonly hashes: readonly string[];
  /** One of them must match a name of the certificate; empty: any certificate will do. */
  readonly sanMatchers: readonly SanMatcherConfig[];
  readonly allowExpired: boolean;
  readonly acceptUntrusted: boolean;
  /** Certificates above the leaf at most. */
  readonly maxVerifyDepth: number;
}

export type TlsVersion = "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";

/** envoy.extensions.transport_sockets.tls.v3.CommonTlsContext. */
export interface TlsContextConfig {
  readonly certificates: readonly TlsCertificateConfig[];
  readonly validation: TlsValidationConfig | undefined;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** OpenSSL's lists, `:` between the names. */
  readonly cipherSuites: string;
  readonly curves: string;
  /** "": OpenSSL's own. */
  readonly signatureAlgorithms: string;
  readonly alpn: readonly string[];
  readonly sds: SdsUses;
  /** Folders in which a change means that files changed, beside the folders of the files themselves. */
  readonly watchedDirectories: readonly string[];
}

/** Secrets of files that a context has, as they were when the configuration was read. */
export interface SdsUses {
  readonly uses: readonly SdsUse[];
  /** What a secret's validation context is merged with: the default one; absent: nothing. */
  readonly base?: TlsValidationConfig | undefined;
}

/** SdsSecretConfig with a `path_config_source`. */
export interface SdsUse {
  readonly kind: "tls_certificate" | "validation_context" | "session_ticket_keys";
  /** Absolute path. */
  readonly file: string;
  /** SHA-256 of the file's text, in hexadecimal. */
  readonly digest: string;
  readonly name: string;
  /** Which of the certificates it is. */
  readonly at: number;
}

/** One secret of a file; which of the three it is. */
export interface SdsSecret {
  readonly certificate: TlsCertificateConfig | undefined;
  readonly validation: TlsValidationConfig | undefined;
  readonly ticketKey: SecretSource | undefined;
}

/** Reads a file of secrets whose text is given. Rejects with ProxyError CONFIG_INVALID. */
export type SecretReader = (path: string, text: string) => Promise<ReadonlyMap<string, SdsSecret>>;

export interface DownstreamTlsConfig extends TlsContextConfig {
  readonly requireClientCertificate: boolean;
  readonly requireSni: boolean;
  /** Undefined: no session tickets. */
  readonly ticketKey: TicketKeyConfig | undefined;
  /** Sessions are kept here for downstreams that may not have tickets. */
  readonly statefulResumption: boolean;
  /** Seconds. */
  readonly sessionTimeoutSeconds: number;
  /** A name that no certificate has gets the best of all certificates, not the first. */
  readonly fullScan: boolean;
  readonly preferClientCiphers: boolean;
  readonly ocspStaplePolicy: OcspStaplePolicy;
}

/** DownstreamTlsContext.OcspStaplePolicy: what becomes of a certificate without a response that holds. */
export type OcspStaplePolicy = "LENIENT_STAPLING" | "STRICT_STAPLING" | "MUST_STAPLE";

/** What session tickets are sealed with, the same in every worker. */
export interface TicketKeyConfig {
  readonly source: SecretSource;
  /** It is a secret of this process, from which another key is made from time to time; else one of TlsSessionTicketKeys. */
  readonly rotates: boolean;
}

export interface UpstreamTlsConfig extends TlsContextConfig {
  readonly sni: string;
  readonly autoHostSni: boolean;
  readonly autoSniSanValidation: boolean;
  /** Sessions kept for resumption; 0: none. */
  readonly maxSessionKeys: number;
  /** An RSA certificate whose key usage does not allow what the handshake used it for is refused, not only counted. */
  readonly enforceRsaKeyUsage: boolean;
}
