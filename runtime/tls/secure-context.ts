/**
 * From TLS configuration to what OpenSSL works with: one secure context for every set of server names, and the
 * parts of the validation that this host does itself. Made once for each generation of the files, never per connection.
 */
import { constants, createHash } from "node:crypto";
import type { SecureContext, SecureContextOptions } from "node:tls";
import type {
  DownstreamTlsConfig,
  OcspStaplePolicy,
  TicketKeyConfig,
  TlsCertificateConfig,
  TlsContextConfig,
  UpstreamTlsConfig,
} from "../config/tls-snapshot.ts";
import { TICKET_KEY_LIFE_MS } from "../limits.ts";
import { Certificate } from "./certificate.ts";
import { type OcspStaple, readStaple } from "./ocsp.ts";
import { asBuffer, attempt, badTls, certificatesOf, tlsModule } from "./openssl.ts";
import { readKeyStore } from "./pkcs12.ts";
import { type ReadSource, Validator } from "./validator.ts";

/** What the files of a context said at one time. */
export interface TlsGeneration {
  readonly validator: Validator | null;
  /** For connections that ask for no name, or for one that nobody has. */
  readonly fallback: ContextChoice;
  /** By server name in lower case, wildcards as `*.example.com`. */
  readonly byName: ReadonlyMap<string, ContextChoice>;
  /** Our own certificates in the order of the configuration. */
  readonly shown: readonly { readonly leaf: Certificate; readonly staple: OcspStaple | null }[];
  /** Milliseconds since the epoch when its key for session tickets is to be replaced. */
  readonly expiresMs: number;
}

/** A context, and what it was made of: Node takes the one for a name, and the other for a server. */
export interface ContextChoice {
  readonly options: SecureContextOptions;
  readonly context: SecureContext;
  /** DER of its certificate; null: it has none, or several. */
  readonly leaf: Buffer | null;
  /** What is sent along with its certificate; null: nothing. */
  readonly staple: OcspStaple | null;
  /** Its certificate says that it is not to be used without. */
  readonly mustStaple: boolean;
}

/** TLS 1.3 has abolished it, and before that it was a way to make the other side work (CVE-2011-1473). */
const NO_RENEGOTIATION = constants.SSL_OP_NO_RENEGOTIATION;

interface KeyPair {
  /** The field that it comes from. */
  readonly what: string;
  readonly chain: Buffer;
  readonly key: Buffer;
  readonly passphrase: string | undefined;
  readonly leaf: Certificate;
  /** `rsa`, `ec` …: OpenSSL holds one certificate of each kind and takes the one that the other side can read. */
  readonly kind: string;
  readonly staple: OcspStaple | null;
}

/** Makes the contexts of a listener. Throws ProxyError `TLS_CONTEXT` that says which part is bad. */
export function downstreamGeneration(config: DownstreamTlsConfig, read: ReadSource): TlsGeneration {
  const pairs = config.certificates.map((certificate, at) => keyPair(certificate, read, `tls_certificates[${at}]`));
  const validator = validatorOf(config, read);
  const tickets = config.ticketKey === undefined ? null : ticketKey(config.ticketKey, read);
  const common: SecureContextOptions = {
    ...versionsAndCiphers(config),
    ...trust(validator),
    honorCipherOrder: !config.preferClientCiphers,
    sessionIdContext: sessionContext(config, read),
    sessionTimeout: config.sessionTimeoutSeconds,
    secureOptions: NO_RENEGOTIATION | (tickets === null ? constants.SSL_OP_NO_TICKET : 0),
  };
  if (tickets !== null) common.ticketKeys = tickets.key;
  for (const pair of pairs) checkStaple(pair, config.ocspStaplePolicy);
  const byName = new Map<string, ContextChoice>();
  const chosen = new Map<string, KeyPair[]>();
  for (const pair of pairs) {
    for (const name of pair.leaf.serverNames) {
      const list = chosen.get(name) ?? [];
      // The first certificate of a kind wins, as in Envoy.
      if (!list.some((other) => other.kind === pair.kind)) list.push(pair);
      chosen.set(name, list);
    }
  }
  const made = new Map<string, ContextChoice>();
  const contextOf = (list: readonly KeyPair[]): ContextChoice => {
    const id = list.map((pair) => pairs.indexOf(pair)).join();
    const known = made.get(id);
    if (known !== undefined) return known;
    const choice = contextChoice(list, common);
    made.set(id, choice);
    return choice;
  };
  for (const [name, list] of chosen) byName.set(name, contextOf(list));
  const first = pairs.filter((pair, at) => (config.fullScan || at === 0) && isFirstOfKind(pairs, pair));
  return { validator, byName, fallback: contextOf(first), shown: pairs, expiresMs: tickets?.expiresMs ?? Infinity };
}

/** The same for a cluster: one context. */
export function upstreamGeneration(config: UpstreamTlsConfig, read: ReadSource): TlsGeneration {
  const pairs = config.certificates.map((certificate, at) => keyPair(certificate, read, `tls_certificates[${at}]`));
  const validator = validatorOf(config, read);
  return {
    validator,
    byName: new Map(),
    shown: pairs,
    expiresMs: Infinity,
    fallback: contextChoice(pairs, {
      ...versionsAndCiphers(config),
      ...trust(validator),
      secureOptions: NO_RENEGOTIATION,
    }),
  };
}

/** The context for a server name: its own, that of `*.` and its parent, else the fallback. */
export function contextFor(generation: TlsGeneration, serverName: string): ContextChoice {
  const name = serverName.toLowerCase();
  const exact = generation.byName.get(name);
  if (exact !== undefined) return exact;
  const dot = name.indexOf(".");
  return (dot > 0 ? generation.byName.get(`*${name.slice(dot)}`) : undefined) ?? generation.fallback;
}

function validatorOf(config: TlsContextConfig, read: ReadSource): Validator | null {
  return config.validation === undefined ? null : new Validator(config.validation, read);
}

function isFirstOfKind(pairs: readonly KeyPair[], pair: KeyPair): boolean {
  return pairs.find((other) => other.kind === pair.kind) === pair;
}

function keyPair(config: TlsCertificateConfig, read: ReadSource, what: string): KeyPair {
  const given = config.password === undefined ? undefined : password(read(config.password));
  const stored =
    config.form === "pkcs12" ? readKeyStore(asBuffer(read(config.key)), given ?? "", `${what}.pkcs12`) : null;
  const chain = stored?.chain ?? asBuffer(read(config.chain));
  const first = certificatesOf(chain, `${what}.certificate_chain`)[0]!;
  const leaf = new Certificate(first.raw);
  const staple = config.ocspStaple === undefined ? null : asBuffer(read(config.ocspStaple));
  return {
    what,
    chain,
    key: stored?.key ?? asBuffer(read(config.key)),
    passphrase: stored === null ? given : undefined,
    leaf,
    kind: attempt(`${what}.certificate_chain`, () => first.publicKey.asymmetricKeyType ?? ""),
    staple: staple === null ? null : readStaple(staple, leaf, `${what}.ocsp_staple`),
  };
}

/** What can be said of a response before anybody asks for it, in Envoy's words. */
function checkStaple({ leaf, staple, what }: KeyPair, policy: OcspStaplePolicy): void {
  if (staple !== null) return;
  if (leaf.mustStaple) throw badTls(`${what}.ocsp_staple`, "OCSP response is required for must-staple certificate");
  if (policy === "MUST_STAPLE")
    throw badTls(`${what}.ocsp_staple`, "Required OCSP response is missing from TLS context (MUST_STAPLE)");
}

/** Bytes of a key in TlsSessionTicketKeys. */
const ENVOY_TICKET_KEY_BYTES = 80;

/** OpenSSL's 48 bytes. Envoy's keys have longer parts; their digest is as secret as they are, and the same everywhere. */
function ticketKey({ source, rotates }: TicketKeyConfig, read: ReadSource): { key: Buffer; expiresMs: number } {
  const bytes = read(source);
  const hash = createHash("sha384").update(bytes);
  if (!rotates) {
    if (bytes.length !== ENVOY_TICKET_KEY_BYTES)
      throw badTls(
        "session_ticket_keys.keys[0]",
        `incorrect TLS session ticket key length, ${bytes.length} bytes, but should be ${ENVOY_TICKET_KEY_BYTES}`,
      );
    return { key: hash.digest(), expiresMs: Infinity };
  }
  // All workers come to the same number, without a word among them.
  const period = Math.floor(Date.now() / TICKET_KEY_LIFE_MS);
  return { key: hash.update(String(period)).digest(), expiresMs: (period + 1) * TICKET_KEY_LIFE_MS };
}

/** A file with a password often ends with a line break that belongs to nobody. */
function password(bytes: Uint8Array): string {
  return asBuffer(bytes)
    .toString("utf8")
    .replace(/\r?\n$/, "");
}

/** True when certificates have keys of several kinds: only whoever knows the name before TLS begins can choose among them. */
export function needsHello(config: DownstreamTlsConfig): boolean {
  const kinds = config.certificates.map((one) => keyPair(one, ({ bytes }) => bytes, "tls_certificates").kind);
  return new Set(kinds).size > 1;
}

function contextChoice(pairs: readonly KeyPair[], common: SecureContextOptions): ContextChoice {
  const tls = tlsModule();
  for (const { what, key, passphrase, chain } of pairs) {
    // One at a time first: OpenSSL does not say which of several keys was wrong.
    attempt(`${what}.private_key`, () =>
      tls.createSecureContext({ cert: chain, key, ...(passphrase === undefined ? {} : { passphrase }) }),
    );
  }
  const options: SecureContextOptions = { ...common };
  if (pairs.length > 0) {
    options.cert = pairs.map((pair) => pair.chain);
    options.key = pairs.map(({ key, passphrase }) =>
      passphrase === undefined ? { pem: key } : { pem: key, passphrase },
    );
  }
  const context = attempt("common_tls_context", () => tls.createSecureContext(options));
  const [first, ...more] = pairs;
  const stapled = pairs.find(({ staple, leaf }) => staple !== null || leaf.mustStaple);
  if (stapled !== undefined && more.length > 0)
    throw badTls(
      `${stapled.what}.ocsp_staple`,
      "not supported for a name that has certificates of several kinds: Node does not tell which of them is shown",
    );
  return {
    options,
    context,
    leaf: more.length > 0 ? null : (first?.leaf.der ?? null),
    staple: first?.staple ?? null,
    mustStaple: first?.leaf.mustStaple === true,
  };
}

function versionsAndCiphers(config: TlsContextConfig): SecureContextOptions {
  // OpenSSL keeps TLS 1.0 and 1.1 behind its lowest security level.
  const old = config.minVersion === "TLSv1" || config.minVersion === "TLSv1.1";
  return {
    minVersion: config.minVersion,
    maxVersion: config.maxVersion,
    ciphers: old ? `${config.cipherSuites}:@SECLEVEL=0` : config.cipherSuites,
    ecdhCurve: config.curves,
    ...(config.signatureAlgorithms === "" ? {} : { sigalgs: config.signatureAlgorithms }),
  };
}

function trust(validator: Validator | null): SecureContextOptions {
  // An empty list of roots is not the same as none: Node would trust its own.
  const ca = validator?.trusted.map((root) => root.toString()) ?? [];
  const options: SecureContextOptions & { allowPartialTrustChain?: boolean } = { ca, allowPartialTrustChain: true };
  if (validator?.crl !== undefined) options.crl = asBuffer(validator.crl);
  return options;
}

/** Sessions made under another certificate or other trust are not taken up again. */
function sessionContext(config: DownstreamTlsConfig, read: ReadSource): string {
  const hash = createHash("sha256");
  for (const { chain } of config.certificates) hash.update(read(chain));
  const { validation } = config;
  if (validation !== undefined) {
    for (const source of [validation.trustedCa, validation.crl]) if (source !== undefined) hash.update(read(source));
    const { trustedCa: _ca, crl: _crl, ...rules } = validation;
    hash.update(JSON.stringify(rules));
  }
  return hash.update(String(config.requireClientCertificate)).digest("hex").slice(0, 32);
}
