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
   * Null: there is no such process, or it ended just now. Throws ProxyError HOT_RESTART when it does not give them.
   */
  static take(place: RestartPlace): Predecessor | null {
    try {
      return this.#ask(place);
    } catch (error) {
      if (!hasEnded(error)) throw refusal(place, error);
    }
    // It closed the connection: because it ended, or for another reason.
    try {
      return this.#ask(place);
    } catch (error) {
      if (codeOf(error) === "ECONNREFUSED") return null;
      throw refusal(place, error);
    }
  }

  static #ask({ baseId, epoch }: RestartPlace): Predecessor {
    const fd = connectOnPath(socketName(baseId, epoch - 1), HAND_OVER_MS);
    try {
      const me = process.geteuid?.() ?? 0;
      const user = peerUser(fd);
      if (user !== me && user !== 0) throw refused(`it belongs to user ${user}, and this one to user ${me}`);
      send(fd, BEGIN);
      const lending = readLending(fd);
      return new Predecessor(fd, lending, readDescriptors(fd, lending));
    } catch (error) {
      closeDescriptor(fd);
      throw error;
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
  const lending = parse(receive(fd, length).toString());
  const version: unknown = lending.version;
  if (version !== HAND_OVER_VERSION)
    throw refused(`it speaks version ${String(version)} of hot restart, and this one version ${HAND_OVER_VERSION}`);
  if (lending.refused !== "") throw refused(lending.refused);
  return lending;
}

/** Whatever version the other side is of. */
function parse(text: string): Lending {
  try {
    return JSON.parse(text) as Lending;
  } catch (cause) {
    throw refused("its answer cannot be read", cause);
  }
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

function refused(why: string, cause?: unknown): ProxyError {
  return new ProxyError("HOT_RESTART", "config", why, cause);
}

function refusal({ baseId, epoch }: RestartPlace, error: unknown): unknown {
  if (!(error instanceof ProxyError)) return error;
  const why = codeOf(error) === "EAGAIN" ? `it has not answered for ${HAND_OVER_MS / 1000} s` : error.message;
  return refused(
    `cannot take over from the process with base id ${baseId} and restart epoch ${epoch - 1}, which goes on: ${why}`,
    error,
  );
}

function codeOf(error: unknown): string {
  const { cause } = error as { readonly cause?: { readonly code?: string } };
  return cause?.code ?? "";
}

function hasEnded(error: unknown): boolean {
  return ["ECONNREFUSED", "ECONNRESET", "EPIPE"].includes(codeOf(error));
}
