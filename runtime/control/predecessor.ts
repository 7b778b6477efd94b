/**
 * The process before this one, whose listening sockets this one takes over. Until `drain` it serves as if nothing
 * were; when this process ends before, it goes on. Life: take → drain → terminate.
 */
import { Socket } from "node:net";
import { ProxyError } from "../errors.ts";
import { HAND_OVER_BATCH, HAND_OVER_MS, MAX_HAND_OVER_BYTES } from "../limits.ts";
import type { LentSocket } from "../listener/listening-socket.ts";
import {
  closeDescriptor,
  connectOnPath,
  peerUser,
  receive,
  receiveDescriptors,
  send,
} from "../listener/native-sockets.ts";
import { HAND_OVER_VERSION, socketName } from "./hand-over-protocol.ts";
import type { Lending, PluginNote, RestartPlace, Word } from "./hand-over-protocol.ts";

const BEGIN = Buffer.from("take\n");
const NEXT = Buffer.from("\n");

export class Predecessor {
  readonly sockets: readonly LentSocket[];
  /** The address of its admin interface; null: it has none. */
  readonly admin: string | null;
  /** Its listening socket, which is this process's now; null: it is bound to a path. */
  readonly adminDescriptor: number | null;
  readonly plugins: readonly PluginNote[];
  /** When the first process of the row started, in milliseconds of the epoch; undefined: it does not tell. */
  readonly firstStartMs: number | undefined;
  readonly #socket: Socket;
  readonly #gone: Promise<void>;

  private constructor(fd: number, lending: Lending, descriptors: readonly number[]) {
    this.sockets = lending.sockets.map(({ key, port }, at) => ({ key, port, descriptor: descriptors[at]! }));
    this.admin = lending.admin;
    this.plugins = lending.plugins ?? [];
    this.firstStartMs = lending.firstStartMs;
    this.adminDescriptor = lending.adminLent ? descriptors.at(-1)! : null;
    this.#socket = new Socket({ fd });
    this.#gone = new Promise((resolve) => this.#socket.on("close", () => resolve()));
    // What broke shows at the next word, or matters no more.
    this.#socket.on("error", () => {});
    this.#socket.resume().unref();
  }

  /**
   * Takes its sockets. Waits for it, at most HAND_OVER_MS at a time, for this process has nothing to do before.
   * Throws ProxyError HOT_RESTART when there is no such process, or it does not give them.
   */
  static take({ baseId, epoch }: RestartPlace): Predecessor {
    let fd = -1;
    try {
      fd = connectOnPath(socketName(baseId, epoch - 1), HAND_OVER_MS);
      const me = process.geteuid?.() ?? 0;
      const user = peerUser(fd);
      if (user !== me && user !== 0) throw refused(`it belongs to user ${user}, and this one to user ${me}`);
      send(fd, BEGIN);
      const lending = readLending(fd);
      return new Predecessor(fd, lending, readDescriptors(fd, lending));
    } catch (error) {
      if (fd >= 0) closeDescriptor(fd);
      if (!(error instanceof ProxyError)) throw error;
      const { code } = (error.cause ?? {}) as { readonly code?: string };
      const why = code === "ECONNREFUSED" ? "there is none" : error.message;
      throw refused(`cannot take over from the process with base id ${baseId} and restart epoch ${epoch - 1}: ${why}`);
    }
  }

  /** This process accepts: it stops that, and its connections drain. Resolves when it has; false: it was gone. */
  async drain(): Promise<boolean> {
    const answered = new Promise<true>((resolve) => this.#socket.once("data", () => resolve(true)));
    this.#say("drain");
    return await Promise.race([answered, this.#gone.then(() => false)]);
  }

  /** It is told to end after that many milliseconds, unless it has ended by itself. */
  terminateIn(ms: number): void {
    const timer = setTimeout(() => this.#say("terminate"), ms).unref();
    void this.#gone.then(() => clearTimeout(timer));
  }

  /** Resolves when it has ended. */
  get gone(): Promise<void> {
    return this.#gone;
  }

  #say(word: Word): void {
    this.#socket.write(`${word}\n`);
  }
}

function readLending(fd: number): Lending {
  const length = receive(fd, 4).readUInt32BE();
  if (length > MAX_HAND_OVER_BYTES) throw refused(`its answer of ${length} bytes is too long`);
  const lending = JSON.parse(receive(fd, length).toString()) as Lending;
  if (lending.refused !== "") throw refused(lending.refused);
  if (lending.version !== HAND_OVER_VERSION)
    throw refused(`it speaks version ${lending.version} of hot restart, and this one version ${HAND_OVER_VERSION}`);
  return lending;
}

function readDescriptors(fd: number, { sockets, adminLent }: Lending): number[] {
  const count = sockets.length + Number(adminLent);
  const descriptors: number[] = [];
  while (descriptors.length < count) {
    send(fd, NEXT);
    descriptors.push(...receiveDescriptors(fd, Math.min(HAND_OVER_BATCH, count - descriptors.length)));
  }
  return descriptors;
}

function refused(why: string): ProxyError {
  return new ProxyError("HOT_RESTART", "config", why);
}
