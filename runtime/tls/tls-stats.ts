/** `ssl.` statistics of a listener or a cluster, with Envoy's names. */
import type { TLSSocket } from "node:tls";
import type { Counter, Stats } from "../observe/stats.ts";
import type { CertificateStatus, TlsContextStatus } from "./certificate-status.ts";

/** Names of curves in Envoy's statistics where OpenSSL has others. */
const CURVES: Readonly<Record<string, string>> = { prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" };

/** What Envoy calls certificates that are no secrets. */
const UNNAMED = "unnamed_cert_e3b0c442";
const UNNAMED_AUTHORITY = "unnamed_ca_cert_e3b0c442";

export class TlsStats {
  readonly handshake: Counter;
  readonly connectionError: Counter;
  readonly sessionReused: Counter;
  readonly noCertificate: Counter;
  readonly failVerifyNoCert: Counter;
  readonly failVerifyError: Counter;
  readonly failVerifySan: Counter;
  readonly failVerifyCertHash: Counter;
  /** Downstreams that asked for an OCSP response; it was sent, there was none, or the connection ended for want of one. */
  readonly ocspStapleRequests: Counter;
  readonly ocspStapleResponses: Counter;
  readonly ocspStapleOmitted: Counter;
  readonly ocspStapleFailed: Counter;
  /** The key usage of a host's RSA certificate does not allow what it was used for. */
  readonly wasKeyUsageInvalid: Counter;
  /** Files that changed were taken, or could not be used. */
  readonly contextUpdated: Counter;
  readonly contextUpdateFailed: Counter;
  readonly #stats: Stats;
  readonly #prefix: string;
  readonly #named = new Map<string, Counter>();

  /** `prefix` is `listener.<name>.` or `cluster.<name>.`; `side` is Envoy's word for the factory of the contexts. */
  constructor(stats: Stats, prefix: string, side: "server" | "client") {
    const counter = (name: string): Counter => stats.counter(`${prefix}ssl.${name}`);
    this.#stats = stats;
    this.#prefix = `${prefix}ssl.`;
    this.handshake = counter("handshake");
    this.connectionError = counter("connection_error");
    this.sessionReused = counter("session_reused");
    this.noCertificate = counter("no_certificate");
    this.failVerifyNoCert = counter("fail_verify_no_cert");
    this.failVerifyError = counter("fail_verify_error");
    this.failVerifySan = counter("fail_verify_san");
    this.failVerifyCertHash = counter("fail_verify_cert_hash");
    this.ocspStapleRequests = counter("ocsp_staple_requests");
    this.ocspStapleResponses = counter("ocsp_staple_responses");
    this.ocspStapleOmitted = counter("ocsp_staple_omitted");
    this.ocspStapleFailed = counter("ocsp_staple_failed");
    this.wasKeyUsageInvalid = counter("was_key_usage_invalid");
    const factory = `${prefix}${side}_ssl_socket_factory.`;
    this.contextUpdated = stats.counter(`${factory}ssl_context_update_by_sds`);
    this.contextUpdateFailed = stats.counter(`${factory}ssl_context_update_failed`);
  }

  /** When certificates expire that are in force now: the first of each name. */
  certificates({ trusted, shown }: TlsContextStatus): void {
    const first = new Map<string, number>();
    const note = (certificates: readonly CertificateStatus[], unnamed: string): void => {
      for (const { secret, notAfterMs } of certificates) {
        const name = secret ?? unnamed;
        first.set(name, Math.min(notAfterMs, first.get(name) ?? Infinity));
      }
    };
    note(shown, UNNAMED);
    note(trusted, UNNAMED_AUTHORITY);
    for (const [name, ms] of first) {
      // All threads have the same certificates.
      const gauge = this.#stats.gauge(`${this.#prefix}certificate.${name}.expiration_unix_time_seconds`, "max");
      if (!Number.isNaN(ms)) gauge.set(Math.floor(ms / 1000));
    }
  }

  /** A handshake that was accepted. */
  secured(socket: TLSSocket): void {
    this.handshake.inc();
    if (socket.isSessionReused()) this.sessionReused.inc();
    const version = socket.getProtocol();
    if (version !== null) this.#count("versions.", version);
    this.#count("ciphers.", socket.getCipher().name);
    // Only the connecting side is told the curve by Node.
    const curve = (socket.getEphemeralKeyInfo() as { name?: string } | null)?.name;
    if (curve !== undefined) this.#count("curves.", CURVES[curve] ?? curve);
  }

  /** Names come from closed sets of OpenSSL's, so that there are few. */
  #count(kind: string, name: string): void {
    const key = kind + name;
    let counter = this.#named.get(key);
    if (counter === undefined) {
      counter = this.#stats.counter(this.#prefix + key);
      this.#named.set(key, counter);
    }
    counter.inc();
  }
}
