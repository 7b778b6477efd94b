/**
 * Secrets of a file (`path_config_source`) in a TLS context: what becomes of the context when the file has changed, and
 * how two validation contexts are one (envoy.extensions.transport_sockets.tls.v3.CommonTlsContext).
 */
import type {
  DownstreamTlsConfig,
  SdsSecret,
  SdsUse,
  TlsContextConfig,
  TlsValidationConfig,
} from "../config/tls-snapshot.ts";
import { MAX_VERIFY_DEPTH } from "../limits.ts";
import { badTls } from "./openssl.ts";

/** Either side's context. */
export type AnyTlsConfig = TlsContextConfig & Partial<Pick<DownstreamTlsConfig, "ticketKey">>;

/** Secrets by name, by file. */
export type SecretsOfFiles = ReadonlyMap<string, ReadonlyMap<string, SdsSecret>>;

/** The context with the secrets of its files as they are now. Throws ProxyError `TLS_CONTEXT` when one is not there. */
export function withSecrets<C extends AnyTlsConfig>(config: C, files: SecretsOfFiles): C {
  const find = <K extends keyof SdsSecret>({ file, name }: SdsUse, kind: K): NonNullable<SdsSecret[K]> => {
    const found = files.get(file)?.get(name)?.[kind];
    if (found === undefined) throw badTls(file, `no secret '${name}' of this kind in that file`);
    return found;
  };
  const certificates = [...config.certificates];
  let { validation, ticketKey } = config;
  for (const use of config.sds.uses) {
    if (use.kind === "tls_certificate") certificates[use.at] = find(use, "certificate");
    else if (use.kind === "session_ticket_keys") ticketKey = { source: find(use, "ticketKey"), rotates: false };
    else {
      const secret = find(use, "validation");
      const { base } = config.sds;
      validation = base === undefined ? secret : mergedValidation(base, secret);
      const [problem] = validationProblems(validation);
      if (problem !== undefined) throw badTls(file(use), problem.text);
    }
  }
  return { ...config, certificates, validation, ...(ticketKey === undefined ? {} : { ticketKey }) };
}

function file({ file: path, name }: SdsUse): string {
  return `${path}, secret '${name}'`;
}

/** A combined context: single values of the later one win, lists are joined, flags are added up. */
export function mergedValidation(first: TlsValidationConfig, second: TlsValidationConfig): TlsValidationConfig {
  return {
    trustedCa: second.trustedCa ?? first.trustedCa,
    secret: second.secret ?? first.secret,
    systemRoots: first.systemRoots || second.systemRoots,
    crl: second.crl ?? first.crl,
    crlOfLeafOnly: first.crlOfLeafOnly || second.crlOfLeafOnly,
    spki: [...first.spki, ...second.spki],
    hashes: [...first.hashes, ...second.hashes],
    sanMatchers: [...first.sanMatchers, ...second.sanMatchers],
    allowExpired: first.allowExpired || second.allowExpired,
    acceptUntrusted: first.acceptUntrusted || second.acceptUntrusted,
    // The bound of all is what is not set.
    maxVerifyDepth: second.maxVerifyDepth === MAX_VERIFY_DEPTH ? first.maxVerifyDepth : second.maxVerifyDepth,
  };
}

/** What a validation context must not be, with the field that it is about. */
export function validationProblems(
  validation: TlsValidationConfig,
): readonly { readonly field: string; readonly text: string }[] {
  const { trustedCa, systemRoots, crl, allowExpired, sanMatchers } = validation;
  const problems = [];
  if (crl !== undefined && trustedCa === undefined)
    problems.push({ field: "crl", text: "failed to load CRL: a trusted_ca is needed with it" });
  if (allowExpired && trustedCa === undefined && !systemRoots)
    problems.push({
      field: "allow_expired_certificate",
      text: "failed to load trusted CA certificates: a trusted_ca is needed",
    });
  if (allowExpired && crl !== undefined)
    problems.push({ field: "crl", text: "not supported yet: a CRL together with allow_expired_certificate" });
  if (sanMatchers.length > 0 && trustedCa === undefined && !systemRoots)
    problems.push({
      field: "match_typed_subject_alt_names",
      text: "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
    });
  return problems;
}
