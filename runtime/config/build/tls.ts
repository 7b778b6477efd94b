/** envoy.extensions.transport_sockets.tls.v3: contexts of listeners and clusters, tried out before they are taken. */
import { createHash, randomBytes } from "node:crypto";
import { MAX_SECRET_BYTES, MAX_VERIFY_DEPTH, TLS_SESSION_SECONDS } from "../../limits.ts";
import { ProxyError } from "../../errors.ts";
import { mergedValidation, validationProblems } from "../../tls/sds.ts";
import { downstreamGeneration, upstreamGeneration } from "../../tls/secure-context.ts";
import type { Message } from "../document/message.ts";
import type {
  DownstreamTlsConfig,
  SanMatcherConfig,
  SecretSource,
  TicketKeyConfig,
  TlsCertificateConfig,
  TlsContextConfig,
  TlsValidationConfig,
  TlsVersion,
  UpstreamTlsConfig,
} from "../tls-snapshot.ts";
import type { BuildContext } from "./context.ts";
import { configuredPath, readDataSource } from "./data-source.ts";
import { buildStringMatcher } from "./matcher.ts";
import { findSecret, secretName, validationMessages, type Watched } from "./tls-secrets.ts";

const TLS = "envoy.extensions.transport_sockets.tls.v3.";
const RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/** Envoy's lists; groups of equal preference (`[A|B]`) are written out in their order. */
const CIPHER_SUITES =
  "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:" +
  "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
const CURVES = "X25519:P-256";
/** TLS 1.3 has suites of its own, which Envoy does not let anybody choose. */
const TLS13_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
const TICKET_SEED_BYTES = 48;

/** The TLS context of a message with a `transport_socket`; undefined: plain bytes, or a problem that was reported. */
export function buildDownstreamTls(context: BuildContext, owner: Message): DownstreamTlsConfig | undefined {
  const message = transportSocket(context, owner, "DownstreamTlsContext");
  if (message === undefined) return undefined;
  const common = message.message("common_tls_context");
  const watched: Watched = { folders: [], secrets: [] };
  const base = buildCommon(context, message, { common, highest: "TLSv1.3", watched });
  if (base === undefined) return undefined;
  if (base.certificates.length === 0) {
    context.error(
      message,
      "common_tls_context",
      "tls",
      "a listener's TLS context needs a certificate: tls_certificates",
    );
    return undefined;
  }
  const stateless = !message.flag("disable_stateless_session_resumption");
  const policy = context.enumName(message, "ocsp_staple_policy") as DownstreamTlsConfig["ocspStaplePolicy"];
  const config: DownstreamTlsConfig = {
    ...base,
    requireClientCertificate: message.wrappedFlag("require_client_certificate", false),
    requireSni: message.wrappedFlag("require_sni", false),
    ticketKey: stateless ? ticketKey(context, message, { certificates: base.certificates, watched }) : undefined,
    statefulResumption: !message.flag("disable_stateful_session_resumption"),
    sessionTimeoutSeconds: Math.floor(message.millis("session_timeout", TLS_SESSION_SECONDS * 1000) / 1000),
    fullScan: message.wrappedFlag("full_scan_certs_on_sni_mismatch", false),
    preferClientCiphers: message.flag("prefer_client_ciphers"),
    ocspStaplePolicy: policy,
  };
  if (config.requireClientCertificate && config.validation === undefined)
    context.warn(
      message,
      "require_client_certificate",
      "tls",
      "without a validation_context any certificate is accepted",
    );
  return tried(context, message, () => downstreamGeneration(config, ownBytes)) ? config : undefined;
}

/** The same for an upstream. */
export function buildUpstreamTls(context: BuildContext, owner: Message): UpstreamTlsConfig | undefined {
  const message = transportSocket(context, owner, "UpstreamTlsContext");
  if (message === undefined) return undefined;
  const common = message.message("common_tls_context");
  const watched: Watched = { folders: [], secrets: [] };
  const base = buildCommon(context, message, { common, highest: "TLSv1.2", watched });
  if (base === undefined) return undefined;
  if (base.certificates.length > 1)
    context.error(
      message,
      "common_tls_context",
      "tls",
      "multiple TLS certificates are not supported for client contexts",
    );
  const config: UpstreamTlsConfig = {
    ...base,
    sni: message.text("sni"),
    autoHostSni: message.flag("auto_host_sni"),
    autoSniSanValidation: message.flag("auto_sni_san_validation"),
    maxSessionKeys: message.wrappedNumber("max_session_keys", 1),
    enforceRsaKeyUsage: message.wrappedFlag("enforce_rsa_key_usage", false),
  };
  if (
    config.autoSniSanValidation &&
    config.validation?.trustedCa === undefined &&
    config.validation?.systemRoots !== true
  )
    context.error(
      message,
      "auto_sni_san_validation",
      "tls",
      "'auto_sni_san_validation' was configured without a validation context",
    );
  return tried(context, message, () => upstreamGeneration(config, ownBytes)) ? config : undefined;
}

function transportSocket(context: BuildContext, owner: Message, wanted: string): Message | undefined {
  const socket = owner.message("transport_socket");
  const any = socket?.message("typed_config");
  const type = any?.anyType ?? "";
  if (socket === undefined || type === RAW_BUFFER || type === "") return undefined;
  if (type === TLS + wanted) return any?.any;
  if (type.startsWith(TLS)) {
    const side = wanted === "DownstreamTlsContext" ? "listener" : "cluster";
    context.error(socket, "typed_config", "transport-socket", `a ${side} takes a ${wanted}, not ${type}`);
  } else context.unsupported(socket, "typed_config", `the transport socket ${type}`);
  return undefined;
}

function ownBytes(source: SecretSource): Uint8Array {
  return source.bytes;
}

/** Runs OpenSSL over the context, so that what it refuses is a problem of the configuration and not of a worker. */
function tried(context: BuildContext, message: Message, make: () => unknown): boolean {
  try {
    make();
    return true;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    context.error(message, "common_tls_context", "tls", error.message.slice(error.code.length + 2));
    return false;
  }
}

function buildCommon(
  context: BuildContext,
  owner: Message,
  given: { readonly common: Message | undefined; readonly highest: TlsVersion; readonly watched: Watched },
): TlsContextConfig | undefined {
  const { common, highest, watched } = given;
  const before = context.problems.errors.length;
  const parameters = common?.message("tls_params");
  const own = common?.messages("tls_certificates") ?? [];
  const named = (common?.messages("tls_certificate_sds_secret_configs") ?? []).map((config, at) =>
    findSecret(context, config, { kind: "tls_certificate", at: own.length + at }, watched),
  );
  const certificates = [...own, ...named].map((message) =>
    message === undefined ? undefined : buildCertificate(context, message, watched),
  );
  const { validation, base } = buildValidation(context, common, watched);
  const suites = parameters?.texts("cipher_suites") ?? [];
  const config: TlsContextConfig = {
    certificates: certificates.filter((certificate) => certificate !== undefined),
    validation,
    minVersion: version(context, parameters, "tls_minimum_protocol_version", "TLSv1.2"),
    maxVersion: version(context, parameters, "tls_maximum_protocol_version", highest),
    cipherSuites: `${TLS13_SUITES}:${suites.length === 0 ? ungrouped(CIPHER_SUITES) : suites.map(ungrouped).join(":")}`,
    curves: parameters?.texts("ecdh_curves").join(":") || CURVES,
    signatureAlgorithms: parameters?.texts("signature_algorithms").join(":") ?? "",
    alpn: common?.texts("alpn_protocols") ?? [],
    sds: { uses: watched.secrets, ...(base === undefined ? {} : { base }) },
    watchedDirectories: watched.folders,
  };
  if (VERSIONS.indexOf(config.minVersion) > VERSIONS.indexOf(config.maxVersion))
    context.error(
      owner,
      "common_tls_context",
      "tls",
      "tls_minimum_protocol_version is above tls_maximum_protocol_version",
    );
  for (const [at, name] of config.alpn.entries())
    if (name === "" || Buffer.byteLength(name) > 255)
      context.itemError(common!, "alpn_protocols", at, { rule: "tls", text: "a protocol has 1 to 255 bytes" });
  return context.problems.errors.length > before ? undefined : config;
}

const VERSIONS: readonly TlsVersion[] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

function version(context: BuildContext, parameters: Message | undefined, field: string, unset: TlsVersion): TlsVersion {
  const name = parameters === undefined ? "" : context.enumName(parameters, field);
  return VERSIONS.find((known) => name === (known === "TLSv1" ? "TLSv1_0" : known.replace(".", "_"))) ?? unset;
}

function ungrouped(suites: string): string {
  return suites.replaceAll(/[[\]]/g, "").replaceAll("|", ":");
}

/** A certificate; undefined, with problems reported, when it cannot be used. */
export function buildCertificate(
  context: BuildContext,
  message: Message,
  watched: Watched,
): TlsCertificateConfig | undefined {
  watch(message, watched);
  const chain = source(context, message, "certificate_chain");
  const key = source(context, message, "private_key");
  const more = {
    ...secretName(message),
    password: source(context, message, "password"),
    ocspStaple: source(context, message, "ocsp_staple"),
  };
  if (message.has("pkcs12")) {
    for (const field of ["certificate_chain", "private_key"])
      if (message.has(field)) context.error(message, field, "tls", `pkcs12 and ${field} cannot stand together`);
    const store = source(context, message, "pkcs12");
    return store === undefined ? undefined : { form: "pkcs12", chain: store, key: store, ...more };
  }
  if (chain === undefined || key === undefined) {
    for (const field of ["certificate_chain", "private_key"])
      if (!message.has(field)) context.error(message, field, "tls", `a certificate needs ${field} (or pkcs12)`);
    return undefined;
  }
  return { form: "pem", chain, key, ...more };
}

function source(context: BuildContext, owner: Message, field: string): SecretSource | undefined {
  const message = owner.message(field);
  return message === undefined ? undefined : secretOf(context, message);
}

/** The bytes of a data source, and where they come from; undefined, with a problem reported, when they cannot be had. */
export function secretOf(context: BuildContext, message: Message): SecretSource | undefined {
  const bytes = readDataSource(context, message, MAX_SECRET_BYTES);
  if (bytes === undefined) return undefined;
  return { bytes, file: message.which("specifier") === "filename" ? configuredPath(message, "filename") : "" };
}

function watch(owner: Message, watched: Watched): void {
  const folder = owner.message("watched_directory");
  if (folder !== undefined) watched.folders.push(configuredPath(folder, "path"));
}

/** The validation context, and what is merged with one of a file when that changes. */
function buildValidation(
  context: BuildContext,
  common: Message | undefined,
  watched: Watched,
): { readonly validation: TlsValidationConfig | undefined; readonly base?: TlsValidationConfig | undefined } {
  const messages = validationMessages(context, common, watched);
  const [first, second] = messages.map((message) => buildValidationPart(context, message, watched));
  if (first === undefined) return { validation: undefined };
  const validation = second === undefined ? first : mergedValidation(first, second);
  for (const { field, text } of validationProblems(validation))
    context.error(messages.findLast((message) => message.has(field)) ?? messages[0]!, field, "tls", text);
  return { validation, base: second === undefined ? undefined : first };
}

/** One CertificateValidationContext. */
export function buildValidationPart(context: BuildContext, message: Message, watched: Watched): TlsValidationConfig {
  watch(message, watched);
  return {
    trustedCa: source(context, message, "trusted_ca"),
    ...secretName(message),
    systemRoots: message.has("system_root_certs"),
    crl: source(context, message, "crl"),
    crlOfLeafOnly: message.flag("only_verify_leaf_cert_crl"),
    spki: message.texts("verify_certificate_spki"),
    hashes: message.texts("verify_certificate_hash").map((hash) => hash.replaceAll(":", "").toLowerCase()),
    sanMatchers: [
      ...message.messages("match_typed_subject_alt_names").flatMap((matcher) => sanMatcher(context, matcher)),
      ...message.messages("match_subject_alt_names").flatMap((matcher) => anySan(context, matcher)),
    ],
    allowExpired: message.flag("allow_expired_certificate"),
    acceptUntrusted: context.enumName(message, "trust_chain_verification") === "ACCEPT_UNTRUSTED",
    maxVerifyDepth: message.wrappedNumber("max_verify_depth", MAX_VERIFY_DEPTH),
  };
}

function sanMatcher(context: BuildContext, message: Message): SanMatcherConfig[] {
  const matcher = message.message("matcher");
  const built = matcher === undefined ? undefined : buildStringMatcher(context, matcher);
  const type = context.enumName(message, "san_type");
  if (built === undefined || type === "" || type === "SAN_TYPE_UNSPECIFIED") return [];
  if (type === "OTHER_NAME" && message.text("oid") === "")
    context.error(message, "oid", "tls", "OTHER_NAME needs the oid of the name");
  return [{ type: type as SanMatcherConfig["type"], matcher: built, oid: message.text("oid") }];
}

/** The older form matches names of four kinds. */
function anySan(context: BuildContext, message: Message): SanMatcherConfig[] {
  const matcher = buildStringMatcher(context, message);
  if (matcher === undefined) return [];
  return (["DNS", "URI", "EMAIL", "IP_ADDRESS"] as const).map((type) => ({ type, matcher, oid: "" }));
}

/**
 * A key of this process alone, the same whenever the same certificates are configured: a configuration that is loaded
 * again without a change must not look changed, and its sessions go on.
 */
function ownTicketKey(certificates: readonly TlsCertificateConfig[]): TicketKeyConfig {
  ticketSeed ??= randomBytes(TICKET_SEED_BYTES);
  const hash = createHash("sha384").update(ticketSeed);
  for (const { chain, secret } of certificates) hash.update(secret ?? (chain.file || chain.bytes)).update("\0");
  return { source: { bytes: new Uint8Array(hash.digest()), file: "" }, rotates: true };
}

let ticketSeed: Buffer | undefined;

/** One key for all workers: a downstream comes back to any of them. */
function ticketKey(
  context: BuildContext,
  message: Message,
  { certificates, watched }: { readonly certificates: readonly TlsCertificateConfig[]; readonly watched: Watched },
): TicketKeyConfig | undefined {
  const given =
    message.message("session_ticket_keys") ??
    (message.has("session_ticket_keys_sds_secret_config")
      ? findSecret(
          context,
          message.message("session_ticket_keys_sds_secret_config")!,
          { kind: "session_ticket_keys", at: 0 },
          watched,
        )
      : undefined);
  const [first, second] = given?.messages("keys") ?? [];
  if (given === undefined || first === undefined) return ownTicketKey(certificates);
  if (second !== undefined)
    context.warn(
      given,
      "keys",
      "tls",
      "tickets of the second key and those after it are not taken: Node knows one key",
    );
  const source = secretOf(context, first);
  return source === undefined ? undefined : { source, rotates: false };
}
