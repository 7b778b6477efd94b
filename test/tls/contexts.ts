/** TLS contexts of a snapshot, in short form. */
import type {
  DownstreamTlsConfig,
  SecretSource,
  TlsCertificateConfig,
  TlsContextConfig,
  TlsValidationConfig,
  UpstreamTlsConfig,
} from "../../runtime/config/tls-snapshot.ts";
import type { Issued } from "./certificates.ts";
import { read } from "./certificates.ts";

/** A source that is watched. */
export function source(path: string): SecretSource {
  return { bytes: read(path), file: path };
}

export function pair({ certificate, key }: Issued): TlsCertificateConfig {
  return { form: "pem", chain: source(certificate), key: source(key), password: undefined, ocspStaple: undefined };
}

export function validation(over: Partial<TlsValidationConfig> = {}): TlsValidationConfig {
  return {
    trustedCa: undefined,
    systemRoots: false,
    crl: undefined,
    crlOfLeafOnly: false,
    spki: [],
    hashes: [],
    sanMatchers: [],
    allowExpired: false,
    acceptUntrusted: false,
    maxVerifyDepth: 100,
    ...over,
  };
}

const COMMON: TlsContextConfig = {
  certificates: [],
  validation: undefined,
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  cipherSuites:
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
  curves: "X25519:P-256",
  signatureAlgorithms: "",
  alpn: [],
  sds: { uses: [] },
  watchedDirectories: [],
};

export function upstreamTls(over: Partial<UpstreamTlsConfig> = {}): UpstreamTlsConfig {
  return {
    ...COMMON,
    sni: "",
    autoHostSni: false,
    autoSniSanValidation: false,
    maxSessionKeys: 1,
    enforceRsaKeyUsage: false,
    ...over,
  };
}

export function downstreamTls(
  certificates: readonly Issued[],
  over: Partial<DownstreamTlsConfig> = {},
): DownstreamTlsConfig {
  return {
    ...COMMON,
    certificates: certificates.map(pair),
    requireClientCertificate: false,
    requireSni: false,
    ticketKey: { source: { bytes: Buffer.alloc(80, 7), file: "" }, rotates: false },
    statefulResumption: true,
    sessionTimeoutSeconds: 7200,
    fullScan: false,
    preferClientCiphers: false,
    ocspStaplePolicy: "LENIENT_STAPLING",
    ...over,
  };
}

/** A matcher of alternative names: one text, exactly. */
export function exactName(
  type: TlsValidationConfig["sanMatchers"][number]["type"],
  value: string,
): TlsValidationConfig["sanMatchers"][number] {
  return { type, matcher: { kind: "exact", value, ignoreCase: false }, oid: "" };
}
