/** What TLS of a connection says, for access logs, headers, routes and guests. Certificates are read when asked for. */
import type { TLSSocket } from "node:tls";
import type { SecureFacts } from "../observe/stream-info.ts";
import { Certificate } from "./certificate.ts";
import { elementsOf, firstElement, Tag } from "./der.ts";

/** What is known of the other side. */
export interface PeerFacts {
  /** DER, its certificate first; empty: it showed none. */
  readonly chain: readonly Buffer[];
  readonly peerValidated: boolean;
}

export class SocketSecureFacts implements SecureFacts {
  readonly version: string;
  readonly cipher: string;
  readonly alpn: string;
  readonly serverName: string;
  readonly peer: Certificate | null;
  readonly peerValidated: boolean;
  readonly #socket: TLSSocket;
  #sessionId: string | null = null;
  readonly #localDer: Buffer | null;
  #local: Certificate | null = null;
  readonly #chain: readonly Buffer[];

  /** Takes everything off the socket that is gone once the socket has closed, which is when access logs are written. */
  constructor(socket: TLSSocket, { chain, peerValidated }: PeerFacts) {
    this.version = socket.getProtocol() ?? "";
    this.cipher = socket.getCipher().name;
    this.alpn = socket.alpnProtocol === false ? "" : (socket.alpnProtocol ?? "");
    this.serverName = serverNameOf(socket);
    this.peerValidated = peerValidated;
    this.#localDer = socket.getX509Certificate()?.raw ?? null;
    this.#chain = withoutRoot(chain);
    this.peer = this.#chain[0] === undefined ? null : new Certificate(this.#chain[0]);
    this.#socket = socket;
  }

  get sessionId(): string {
    this.#sessionId ??= sessionIdOf(this.#socket.getSession());
    return this.#sessionId;
  }

  get local(): Certificate | null {
    if (this.#local === null && this.#localDer !== null) this.#local = new Certificate(this.#localDer);
    return this.#local;
  }

  get peerChainPem(): string {
    return this.#chain.map((der) => new Certificate(der).pem).join("");
  }
}

/** The name that downstream asked for, "" for none. */
export function serverNameOf(socket: TLSSocket): string {
  // Node's types know the field of the connecting side only; `false` stands for "none".
  const { servername } = socket as TLSSocket & { readonly servername?: string | false | null };
  return typeof servername === "string" ? servername : "";
}

/** What was shown: a root is part of it only when it stands alone; Node adds it from the trusted ones. */
function withoutRoot(chain: readonly Buffer[]): readonly Buffer[] {
  const last = chain.at(-1);
  if (chain.length < 2 || last === undefined) return chain;
  const { subject, issuer } = new Certificate(last);
  return subject === issuer ? chain.slice(0, -1) : chain;
}

/** OpenSSL's form of a session: version, TLS version, cipher, id (ssl/ssl_asn1.c). */
function sessionIdOf(session: Buffer | undefined | null): string {
  const id = session == null ? undefined : elementsOf(firstElement(session))[3];
  return id?.tag === Tag.OCTET_STRING ? id.content.toString("hex") : "";
}
