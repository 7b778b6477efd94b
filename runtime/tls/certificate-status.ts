/** The certificates of a TLS context that are in force, as plain data: for people who want to know when they expire. */
import type { TlsContextConfig } from "../config/tls-snapshot.ts";
import type { SanKind } from "../observe/stream-info.ts";
import { Certificate } from "./certificate.ts";
import type { TlsGeneration } from "./secure-context.ts";

export interface CertificateStatus {
  /** Of its file; "": it comes from the configuration's own text. */
  readonly path: string;
  /** Of its secret; undefined: it is of none. */
  readonly secret: string | undefined;
  readonly serial: string;
  readonly names: readonly { readonly type: SanKind; readonly value: string }[];
  /** Milliseconds since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Of the OCSP response that is sent along; null: there is none. */
  readonly ocsp: { readonly fromMs: number; readonly untilMs: number } | null;
}

export interface TlsContextStatus {
  /** Authorities that were configured, not those of the system. */
  readonly trusted: readonly CertificateStatus[];
  /** Our own. */
  readonly shown: readonly CertificateStatus[];
}

export function contextStatus(config: TlsContextConfig, { shown, validator }: TlsGeneration): TlsContextStatus {
  const { trustedCa, secret } = config.validation ?? {};
  const authorities = trustedCa === undefined ? [] : (validator?.trusted ?? []);
  return {
    trusted: authorities.map((one) => status({ file: trustedCa!.file, secret }, new Certificate(one.raw), null)),
    shown: shown.map(({ leaf, staple }, at) => {
      const ocsp = staple === null ? null : { fromMs: staple.fromMs, untilMs: staple.expiresMs };
      const { chain, secret: own } = config.certificates[at]!;
      return status({ file: chain.file, secret: own }, leaf, ocsp);
    }),
  };
}

function status(
  { file, secret }: { readonly file: string; readonly secret: string | undefined },
  { serial, names, notBeforeMs, notAfterMs }: Certificate,
  ocsp: CertificateStatus["ocsp"],
): CertificateStatus {
  const plain = names.map(({ type, value }) => ({ type, value }));
  return { path: file, secret, serial, names: plain, notBeforeMs, notAfterMs, ocsp };
}
