/**
 * TLS of one filter chain in one worker (envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext): turns an
 * accepted socket into one that speaks plain bytes. Contexts belong to the chain, not to connections; when their files
 * change, connections that come later get new ones and those under way go on with theirs.
 */
import type { Socket } from "node:net";
import type { Server, TLSSocket } from "node:tls";
import type { DownstreamTlsConfig, SecretReader } from "../config/tls-snapshot.ts";
import { MAX_TIMER_MS, MAX_TLS_SESSIONS } from "../limits.ts";
import type { Stats } from "../observe/stats.ts";
import type { SecureFacts } from "../observe/stream-info.ts";
import { shownChain } from "./certificate.ts";
import { contextStatus, type TlsContextStatus } from "./certificate-status.ts";
import { handshakeErrorText, noCertificateText, noServerNameText, verificationText } from "./failure-text.ts";
import { tlsModule } from "./openssl.ts";
import { SecretFiles } from "./secret-files.ts";
import { type ContextChoice, contextFor, downstreamGeneration, type TlsGeneration } from "./secure-context.ts";
import { serverNameOf, SocketSecureFacts } from "./secure-facts.ts";
import { TlsStats } from "./tls-stats.ts";
import type { PeerProblem, Validator } from "./validator.ts";

type OcspAnswer = (error: Error | null, response?: Buffer | null) => void;

/** What becomes of an accepted socket: exactly one of the two is called. */
export interface Handshake {
  onSecure(socket: TLSSocket, facts: SecureFacts): void;
  /** The socket is closed. */
  onFailed(failure: HandshakeFailure): void;
}

export interface HandshakeFailure {
  /** In Envoy's words; "": the other side left, or took too long. */
  readonly reason: string;
  readonly timedOut: boolean;
}

export interface DownstreamTlsEnvironment {
  readonly stats: Stats;
  /** `listener.<name>.` */
  readonly statPrefix: string;
  readonly handshakeTimeoutMs: number;
  readonly readSecrets: SecretReader;
  readonly log: (level: "info" | "warn", message: string) => void;
}

export class DownstreamTls {
  readonly #config: DownstreamTlsConfig;
  readonly #environment: DownstreamTlsEnvironment;
  readonly #stats: TlsStats;
  readonly #files: SecretFiles<DownstreamTlsConfig>;
  readonly #waiting = new Map<Socket, Handshake>();
  readonly #sessions = new Map<string, Buffer>();
  #generation: TlsGeneration;
  /** By context: Node lets a name replace one certificate of a server, not all of them. */
  #servers = new Map<ContextChoice, Server>();

  /** Throws ProxyError `TLS_CONTEXT`. */
  constructor(config: DownstreamTlsConfig, environment: DownstreamTlsEnvironment) {
    this.#config = config;
    this.#environment = environment;
    this.#stats = new TlsStats(environment.stats, environment.statPrefix, "server");
    this.#files = new SecretFiles(config, environment.readSecrets, {
      onChanged: () => this.#renew(),
      onRefused: (reason) => {
        this.#stats.contextUpdateFailed.inc();
        environment.log("warn", `TLS: new certificate files are not used, the old ones stay: ${reason}`);
      },
    });
    this.#generation = downstreamGeneration(config, this.#files.read);
    this.#stats.certificates(this.status);
  }

  /**
   * Takes an accepted socket over; bytes that were given back to it (`unshift`) belong to the handshake.
   * `serverName`: the name in the hello, where somebody has looked.
   */
  accept(socket: Socket, serverName: string, handshake: Handshake): void {
    if (Date.now() >= this.#generation.expiresMs) this.#replaceServers();
    this.#waiting.set(socket, handshake);
    // The one around it does as this one: whoever leaves in the middle of a handshake is not waited for.
    socket.allowHalfOpen = false;
    const choice = serverName === "" ? this.#generation.fallback : contextFor(this.#generation, serverName);
    let server = this.#servers.get(choice);
    if (server === undefined) this.#servers.set(choice, (server = this.#createServer(choice, this.#generation)));
    server.emit("connection", socket);
  }

  get status(): TlsContextStatus {
    return contextStatus(this.#files.config, this.#generation);
  }

  /** Ends handshakes that are under way, and looks at no file any more. */
  close(): void {
    this.#files.close();
    for (const socket of [...this.#waiting.keys()]) socket.destroy();
  }

  #replaceServers(): void {
    this.#generation = downstreamGeneration(this.#files.config, this.#files.read);
    this.#servers = new Map();
  }

  #renew(): void {
    this.#replaceServers();
    this.#stats.certificates(this.status);
    this.#stats.contextUpdated.inc();
    this.#environment.log("info", "TLS: certificate files have changed, new connections use them");
  }

  /** A server that never listens: sockets are put into it, as Node's documentation of `connection` says. */
  #createServer(choice: ContextChoice, generation: TlsGeneration): Server {
    const config = this.#config;
    const asks = config.requireClientCertificate || generation.validator?.wantsCertificate === true;
    const server = new (tlsModule().Server)({
      ...choice.options,
      SNICallback: (name, done) => {
        const wanted = contextFor(generation, name);
        done(null, wanted === choice ? undefined : wanted.context);
      },
      ALPNProtocols: [...config.alpn],
      requestCert: asks,
      // The validator decides: it knows of pins, names and exceptions.
      rejectUnauthorized: false,
      handshakeTimeout: Math.min(this.#environment.handshakeTimeoutMs, MAX_TIMER_MS),
      pauseOnConnect: true,
    });
    server.on("secureConnection", (socket) => this.#onSecure(socket, generation));
    server.on("tlsClientError", (error, socket) => this.#onError(error, socket));
    server.on("OCSPRequest", (shown: Buffer, _issuer: Buffer, done: OcspAnswer) =>
      this.#staple(generation, shown, done),
    );
    if (config.ticketKey === undefined && config.statefulResumption) this.#keepSessions(server);
    return server;
  }

  #onSecure(socket: TLSSocket, generation: TlsGeneration): void {
    const handshake = this.#takeWaiting(socket);
    if (handshake === undefined) return;
    socket.allowHalfOpen = true;
    const validator = generation.validator?.wantsCertificate === true ? generation.validator : null;
    const shown = socket.getPeerX509Certificate() !== undefined;
    const problem = shown && validator !== null ? problemOf(socket, validator) : null;
    if (problem !== null) this.#stats[problem.stat].inc();
    const refusal = this.#refusal(socket, shown, validator?.acceptUntrusted === true ? null : problem);
    if (refusal !== null) {
      socket.destroy();
      handshake.onFailed({ reason: refusal, timedOut: false });
      return;
    }
    this.#stats.secured(socket);
    if (!shown) this.#stats.noCertificate.inc();
    const chain = shown ? shownChain(socket) : [];
    const peerValidated = shown && validator !== null && problem === null;
    handshake.onSecure(socket, new SocketSecureFacts(socket, { chain, peerValidated }));
  }

  /** Why the connection must end although the handshake went well; null when it may go on. */
  #refusal(socket: TLSSocket, shown: boolean, problem: PeerProblem | null): string | null {
    const config = this.#config;
    if (config.requireSni && serverNameOf(socket) === "") {
      this.#stats.connectionError.inc();
      return noServerNameText();
    }
    if (!shown && config.requireClientCertificate) {
      this.#stats.failVerifyNoCert.inc();
      return noCertificateText();
    }
    return problem === null ? null : verificationText(problem.details);
  }

  /** Downstream wants an OCSP response of the certificate that it is shown. */
  #staple(generation: TlsGeneration, shown: Buffer, done: OcspAnswer): void {
    const stats = this.#stats;
    stats.ocspStapleRequests.inc();
    const choice = [generation.fallback, ...generation.byName.values()].find(
      ({ leaf }) => leaf?.equals(shown) === true,
    );
    const staple = choice?.staple ?? null;
    if (staple !== null && Date.now() < staple.expiresMs) {
      stats.ocspStapleResponses.inc();
      done(null, staple.der);
      return;
    }
    const policy = this.#config.ocspStaplePolicy;
    const needed = policy === "MUST_STAPLE" || choice?.mustStaple === true;
    if (needed || (policy === "STRICT_STAPLING" && staple !== null)) {
      stats.ocspStapleFailed.inc();
      done(Object.assign(new Error("no OCSP response that holds"), { code: "ERR_SSL_CONNECTION_REJECTED" }));
      return;
    }
    stats.ocspStapleOmitted.inc();
    done(null, null);
  }

  #onError(error: Error, socket: TLSSocket): void {
    const timedOut = (error as NodeJS.ErrnoException).code === "ERR_TLS_HANDSHAKE_TIMEOUT";
    const handshake = this.#takeWaiting(socket);
    socket.destroy();
    if (handshake === undefined) return;
    const text = handshakeErrorText(error);
    // A peer that merely left is no failure of TLS.
    if (text !== "") this.#stats.connectionError.inc();
    handshake.onFailed({ reason: text, timedOut });
  }

  /** Whose handshake it was. Node keeps the accepted socket in a field of the one around it, and says it nowhere else. */
  #takeWaiting(socket: TLSSocket): Handshake | undefined {
    const { _parent: accepted } = socket as TLSSocket & { readonly _parent: Socket };
    const handshake = this.#waiting.get(accepted);
    this.#waiting.delete(accepted);
    return handshake;
  }

  /** The newest sessions of this worker, for downstreams that come back without a ticket. */
  #keepSessions(server: Server): void {
    const sessions = this.#sessions;
    server.on("newSession", (id: Buffer, data: Buffer, done: () => void) => {
      sessions.set(id.toString("latin1"), data);
      if (sessions.size > MAX_TLS_SESSIONS) sessions.delete(sessions.keys().next().value!);
      done();
    });
    server.on("resumeSession", (id: Buffer, done: (error: null, data: Buffer | null) => void) =>
      done(null, sessions.get(id.toString("latin1")) ?? null),
    );
  }
}

function problemOf(socket: TLSSocket, validator: Validator): PeerProblem | null {
  // Node says the code of OpenSSL's verdict, or nothing when it was right.
  const verdict = socket.authorized ? null : String(socket.authorizationError);
  return validator.problemOf(socket, verdict);
}
