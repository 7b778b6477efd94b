/**
 * TLS towards the hosts of a cluster in one worker (envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext):
 * sockets that are connected and whose peer is the one that was meant, or the reason why not.
 */
import type { IpcSocketConnectOpts, OnReadOpts, Socket, TcpSocketConnectOpts } from "node:net";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import type { SecretReader, UpstreamTlsConfig } from "../config/tls-snapshot.ts";
import type { Stats } from "../observe/stats.ts";
import type { SecureFacts } from "../observe/stream-info.ts";
import { Certificate, KeyUsage, shownChain } from "./certificate.ts";
import { contextStatus, type TlsContextStatus } from "./certificate-status.ts";
import { handshakeErrorText, keyUsageText, verificationText } from "./failure-text.ts";
import { tlsModule } from "./openssl.ts";
import { SecretFiles } from "./secret-files.ts";
import { type TlsGeneration, upstreamGeneration } from "./secure-context.ts";
import { SocketSecureFacts } from "./secure-facts.ts";
import { TlsStats } from "./tls-stats.ts";
import type { Validator } from "./validator.ts";

export interface UpstreamTlsEnvironment {
  readonly stats: Stats;
  /** `cluster.<name>.` */
  readonly statPrefix: string;
  readonly readSecrets: SecretReader;
  readonly log: (level: "info" | "warn", message: string) => void;
}

/** Where a connection goes, and what `node:net` is told about it. */
export type DialOptions = (IpcSocketConnectOpts | TcpSocketConnectOpts | { readonly socket: Socket }) & {
  readonly onread?: OnReadOpts;
  readonly writableHighWaterMark?: number;
};

/** A host as TLS sees it. */
export interface NamedHost {
  readonly hostname: string;
}

/** A session to be taken up again, and the certificates of the connection that it comes from. */
interface KeptSession {
  readonly session: Buffer;
  readonly chain: readonly Buffer[];
}

export class UpstreamTls {
  readonly #config: UpstreamTlsConfig;
  readonly #stats: TlsStats;
  readonly #files: SecretFiles<UpstreamTlsConfig>;
  #generation!: TlsGeneration;
  /** The newest session of each server name, in the order in which they came; all are of accepted connections. */
  readonly #sessions = new Map<string, KeptSession>();
  /** What accepted connections showed, and the session of a connection that came before that was known. */
  readonly #accepted = new WeakMap<TLSSocket, readonly Buffer[]>();
  readonly #early = new WeakMap<TLSSocket, Buffer>();

  /** Throws ProxyError `TLS_CONTEXT`. */
  constructor(config: UpstreamTlsConfig, environment: UpstreamTlsEnvironment) {
    this.#config = config;
    this.#stats = new TlsStats(environment.stats, environment.statPrefix, "client");
    this.#files = new SecretFiles(config, environment.readSecrets, {
      onChanged: () => {
        this.#renew();
        this.#stats.contextUpdated.inc();
        environment.log("info", "TLS: certificate files have changed, new connections use them");
      },
      onRefused: (reason) => {
        this.#stats.contextUpdateFailed.inc();
        environment.log("warn", `TLS: new certificate files are not used, the old ones stay: ${reason}`);
      },
    });
    this.#renew();
  }

  /** The name that a host is asked for, "" for none. */
  serverName({ hostname }: NamedHost): string {
    return this.#config.autoHostSni && hostname !== "" ? hostname : this.#config.sni;
  }

  /**
   * Begins a connection; `secureConnect` comes when it is made, and then `refuse` must be asked. `protocols` are
   * asked for with ALPN where the configuration names none.
   */
  connect(options: DialOptions, host: NamedHost & { readonly protocols: readonly string[] }): TLSSocket {
    const name = this.serverName(host);
    const { alpn } = this.#config;
    const session = this.#sessions.get(name)?.session;
    const all: ConnectionOptions & DialOptions = {
      ...options,
      secureContext: this.#generation.fallback.context,
      // The validator decides: it knows of pins, names and exceptions.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ALPNProtocols: [...(alpn.length > 0 ? alpn : host.protocols)],
      // Without a name Node would take the host's address.
      servername: name,
      ...(session === undefined ? {} : { session }),
    };
    const socket = tlsModule().connect(all);
    if (this.#config.maxSessionKeys > 0) {
      socket.on("session", (fresh) => {
        const chain = this.#accepted.get(socket);
        if (chain !== undefined) this.#keepSession(name, { session: fresh, chain });
        else this.#early.set(socket, fresh);
      });
    }
    return socket;
  }

  /** Why a connection whose handshake is over must not be used; null: it may. Counts either way. */
  refuse(socket: TLSSocket, host: NamedHost): string | null {
    // Nobody but the peer of an accepted connection can take its session up; it shows no certificate then.
    const known = socket.isSessionReused();
    const misused = known ? null : this.#misuse(socket);
    const problem =
      misused ??
      (this.#generation.validator === null || known ? null : this.#problemOf(socket, host, this.#generation.validator));
    if (problem !== null) return problem;
    const name = this.serverName(host);
    const chain = known ? (this.#sessions.get(name)?.chain ?? []) : shownChain(socket);
    this.#accepted.set(socket, chain);
    const early = this.#early.get(socket);
    if (early !== undefined) this.#keepSession(name, { session: early, chain });
    this.#stats.secured(socket);
    return null;
  }

  /** What a failed handshake is called; "" when TLS had no part in it. */
  failure(error: Error): string {
    const text = handshakeErrorText(error);
    if (text !== "") this.#stats.connectionError.inc();
    return text;
  }

  /** Of an accepted connection. */
  facts(socket: TLSSocket): SecureFacts {
    const chain = this.#accepted.get(socket) ?? [];
    return new SocketSecureFacts(socket, {
      chain,
      peerValidated: this.#generation.validator?.wantsCertificate === true,
    });
  }

  get status(): TlsContextStatus {
    return contextStatus(this.#files.config, this.#generation);
  }

  /** Looks at no file any more. */
  close(): void {
    this.#files.close();
  }

  /** An RSA certificate that was used for something that its key usage leaves out; counted, and refused where that is asked for. */
  #misuse(socket: TLSSocket): string | null {
    const shown = socket.getPeerX509Certificate();
    if (shown?.publicKey.asymmetricKeyType !== "rsa") return null;
    // Suites without an exchange of their own encrypt to the key; all others have it sign.
    const encrypts = /^(?:AES|CAMELLIA|DES|RSA)/.test(socket.getCipher().name);
    const usage = encrypts ? KeyUsage.KEY_ENCIPHERMENT : KeyUsage.DIGITAL_SIGNATURE;
    if (!new Certificate(shown.raw).forbids(usage)) return null;
    this.#stats.wasKeyUsageInvalid.inc();
    return this.#config.enforceRsaKeyUsage ? keyUsageText() : null;
  }

  #problemOf(socket: TLSSocket, host: NamedHost, validator: Validator): string | null {
    const verdict = socket.authorized ? null : String(socket.authorizationError);
    const wanted = this.#config.autoSniSanValidation ? this.serverName(host) : "";
    const problem = validator.problemOf(socket, verdict, wanted);
    if (problem === null) return null;
    this.#stats[problem.stat].inc();
    return validator.acceptUntrusted ? null : verificationText(problem.details);
  }

  #renew(): void {
    this.#generation = upstreamGeneration(this.#files.config, this.#files.read);
    this.#stats.certificates(this.status);
    // They were made under the old trust.
    this.#sessions.clear();
  }

  #keepSession(name: string, session: KeptSession): void {
    this.#sessions.delete(name);
    this.#sessions.set(name, session);
    if (this.#sessions.size > this.#config.maxSessionKeys) this.#sessions.delete(this.#sessions.keys().next().value!);
  }
}
