/**
 * Where the process that takes over asks for listening sockets. Until it says that it accepts nothing changes here:
 * should it end before, this process just goes on. Life: open → (take → drain → terminate) → close.
 */
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { ProxyError } from "../errors.ts";
import { HAND_OVER_BATCH, HAND_OVER_CONNECTIONS, HAND_OVER_MS, MAX_HAND_OVER_LINE_BYTES } from "../limits.ts";
import type { LentSocket } from "../listener/listening-socket.ts";
import { closeDescriptor, descriptorOf, listenOnPath, peerUser, sendDescriptors } from "../listener/native-sockets.ts";
import type { Log } from "../observe/log.ts";
import { HAND_OVER_VERSION, socketName } from "./hand-over-protocol.ts";
import type { Lending, PluginNote, RestartPlace } from "./hand-over-protocol.ts";

/** The process as its successor sees it. */
export interface Lender {
  /** False: it does not serve yet. */
  readonly ready: boolean;
  /** Descriptors that the caller closes; `adminDescriptor` as well. */
  lend(): Promise<{
    readonly sockets: readonly LentSocket[];
    readonly admin: string | null;
    readonly adminDescriptor: number | null;
    readonly plugins: readonly PluginNote[];
    /** See {@link Lending.firstStartMs}. */
    readonly firstStartMs: number;
  }>;
  /** The successor accepts: this process lets go of its sockets. */
  handOver(): Promise<void>;
  /** The successor has waited long enough. */
  terminate(): void;
  /** The successor has ended before this process, which had let go of its sockets. */
  orphaned(): void;
}

export class SuccessorDoor {
  readonly #lender: Lender;
  readonly #log: Log;
  readonly #server: Server;
  /** Whoever takes over at the moment. */
  #successor: Successor | null = null;

  constructor(lender: Lender, log: Log) {
    this.#lender = lender;
    this.#log = log;
    this.#server = createServer((socket) => this.#greet(socket));
    this.#server.maxConnections = HAND_OVER_CONNECTIONS;
    this.#server.unref();
  }

  /** Rejects with ProxyError HOT_RESTART when there is such a process already. */
  async open({ baseId, epoch }: RestartPlace): Promise<void> {
    try {
      const fd = listenOnPath(socketName(baseId, epoch), 1);
      await new Promise<void>((resolve, reject) => {
        this.#server.once("error", reject);
        this.#server.once("listening", () => this.#server.off("error", reject));
        this.#server.listen({ fd }, resolve);
      });
      this.#server.on("error", (error) => this.#log.warning(`hot restart: nobody could be let in: ${error.message}`));
    } catch (cause) {
      const why = (cause as { readonly cause?: { readonly code?: string } }).cause?.code;
      throw new ProxyError(
        "HOT_RESTART",
        "config",
        why === "EADDRINUSE"
          ? `a process with base id ${baseId} and restart epoch ${epoch} runs already: give this one another --base-id, or the next --restart-epoch to take over from it`
          : `cannot wait for a process that takes over: ${String(cause)}`,
        cause,
      );
    }
  }

  /** Nobody else is let in: whoever looks for a process that serves is to find none here. */
  shut(): void {
    this.#server.close();
  }

  close(): void {
    this.#server.close();
    this.#successor?.end();
  }

  #greet(socket: Socket): void {
    let user: number;
    try {
      user = peerUser(descriptorOf(socket));
    } catch (error) {
      this.#log.warning(`cannot tell who asks for listening sockets: ${String(error)}`);
      socket.destroy();
      return;
    }
    const me = process.geteuid?.() ?? 0;
    if (user !== me && user !== 0) {
      this.#log.warning(`user ${user} asked for listening sockets, which user ${me} does not give away`);
      refuse(socket, `it belongs to user ${me}, and this one to user ${user}`);
    } else if (!this.#lender.ready) {
      refuse(socket, "it does not serve yet");
    } else if (this.#successor !== null) {
      refuse(socket, "another process is taking over from it already");
    } else {
      this.#successor = new Successor(socket, this.#lender, this.#log, () => (this.#successor = null));
    }
  }
}

/** The connection of the process that takes over. */
class Successor {
  readonly #socket: Socket;
  readonly #lender: Lender;
  readonly #log: Log;
  #text = "";
  /** Sends the next batch of descriptors. */
  #next: (() => void) | null = null;
  /** The words come in this order, each once. */
  #stage: "" | "take" | "drain" = "";

  constructor(socket: Socket, lender: Lender, log: Log, onGone: () => void) {
    this.#socket = socket;
    this.#lender = lender;
    this.#log = log;
    socket.unref();
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => this.#hear(text));
    socket.on("error", (error) => this.#log.warning(`hot restart: ${error.message}`));
    socket.on("close", () => {
      this.#next = null;
      if (this.#stage === "drain") this.#lender.orphaned();
      else this.#log.warning("the process that was to take over is gone: this one goes on serving");
      onGone();
    });
  }

  end(): void {
    this.#socket.removeAllListeners("close").destroy();
  }

  #hear(text: string): void {
    this.#text += text;
    if (this.#text.length > MAX_HAND_OVER_LINE_BYTES) return void this.#socket.destroy();
    for (let at = this.#text.indexOf("\n"); at !== -1; at = this.#text.indexOf("\n")) {
      const word = this.#text.slice(0, at);
      this.#text = this.#text.slice(at + 1);
      this.#obey(word);
    }
  }

  #obey(word: string): void {
    if (word === "") {
      const next = this.#next;
      this.#next = null;
      next?.();
    } else if (word === "take" && this.#stage === "") void this.#lend();
    else if (word === "drain" && this.#stage === "take") void this.#handOver();
    else if (word === "terminate" && this.#stage === "drain") this.#lender.terminate();
    else this.#socket.destroy();
  }

  async #lend(): Promise<void> {
    this.#stage = "take";
    this.#log.info("hot restart: lending listening sockets to the process that takes over");
    const descriptors: number[] = [];
    try {
      const { sockets, admin, adminDescriptor, plugins, firstStartMs } = await this.#lender.lend();
      descriptors.push(...sockets.map(({ descriptor }) => descriptor));
      if (adminDescriptor !== null) descriptors.push(adminDescriptor);
      this.#socket.write(
        lendingBytes({
          version: HAND_OVER_VERSION,
          refused: "",
          sockets: sockets.map(({ key, port }) => ({ key, port })),
          admin,
          adminLent: adminDescriptor !== null,
          plugins,
          firstStartMs,
        }),
      );
      for (let at = 0; at < descriptors.length; at += HAND_OVER_BATCH) {
        await new Promise<void>((resolve) => {
          this.#next = resolve;
          this.#socket.once("close", resolve);
        });
        if (this.#socket.destroyed) return;
        sendDescriptors(descriptorOf(this.#socket), descriptors.slice(at, at + HAND_OVER_BATCH));
      }
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      this.#log.error(`hot restart: ${error.message}`);
      this.#socket.destroy();
    } finally {
      for (const descriptor of descriptors) closeDescriptor(descriptor);
    }
  }

  async #handOver(): Promise<void> {
    this.#stage = "drain";
    await this.#lender.handOver();
    this.#socket.write("draining\n");
  }
}

/** Says why to whoever asks for sockets, and has no more of it. */
function refuse(socket: Socket, refused: string): void {
  // What is left unread would take the answer away from the other side.
  socket.on("error", () => socket.destroy()).resume();
  socket.setTimeout(HAND_OVER_MS, () => socket.destroy());
  socket.end(lendingBytes({ version: HAND_OVER_VERSION, refused, sockets: [], admin: null, adminLent: false }));
}

function lendingBytes(lending: Lending): Buffer {
  const text = Buffer.from(JSON.stringify(lending));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text]);
}
