/**
 * What two processes say to each other when the newer one takes over, on a unix stream socket with an abstract name.
 * The newer one says lines of one word. The answer to `take` is a length (32 bits, big endian) and a {@link Lending} in
 * JSON; then each batch of descriptors (SCM_RIGHTS) waits for a byte of the newer one. Other answers are lines.
 */
import { readFileSync } from "node:fs";
import type { LentSocket } from "../listener/listening-socket.ts";

/** Raised when the two sides would not understand each other any more; in `/hot_restart_version`, too. */
export const HAND_OVER_VERSION = 1;

/** `take`: lend me your sockets. `drain`: I accept now, so stop that. `terminate`: end. */
export type Word = "take" | "drain" | "terminate";

/** A plugin whose versions a process has changed while it ran; its successor begins with what is configured. */
export interface PluginNote {
  readonly name: string;
  /** Of the version in force. */
  readonly sha256: string;
  /** Of a version that is tried beside it; "": there is none. */
  readonly candidate: string;
}

/** The listening sockets of a process, in the order in which their descriptors follow. */
export interface Lending {
  readonly version: number;
  /** Why nothing is lent; else "". */
  readonly refused: string;
  readonly sockets: readonly Omit<LentSocket, "descriptor">[];
  /** The admin interface's address; its socket is the last one, unless it is a unix socket. */
  readonly admin: string | null;
  readonly adminLent: boolean;
  /** Absent: the process is of an older version. */
  readonly plugins?: readonly PluginNote[];
  /** When the first process of the row started, in milliseconds of the epoch. Absent: the process is of an older version. */
  readonly firstStartMs?: number;
}

/** The name of the process's socket. As in Envoy it is made of base id and epoch; NUL makes it abstract. */
export function socketName(baseId: number, epoch: number): string {
  return `\0sluice_domain_socket_${baseId}_${epoch}`;
}

/**
 * Epochs of a row whose processes can be taken over from, or are about to be, in ascending order. The kernel knows: an
 * abstract name lives no longer than its process (proc(5), /proc/net/unix).
 */
export function openEpochs(baseId: number): number[] {
  // Its @ stands for NUL; the flag says that somebody listens.
  const door = new RegExp(`^\\S+ \\S+ \\S+ 00010000 .*@${socketName(baseId, 0).slice(1, -1)}(\\d+)$`, "gm");
  return [...readFileSync("/proc/net/unix", "latin1").matchAll(door)]
    .map(([, epoch]) => Number(epoch))
    .sort((a, b) => a - b);
}

/** Which process of which row of processes this one is. */
export interface RestartPlace {
  /** Keeps rows apart that run on one machine. Envoy: `--base-id`. */
  readonly baseId: number;
  /** 0 for the first process, one more for each that takes over. Envoy: `--restart-epoch`. */
  readonly epoch: number;
  /** Milliseconds after which the process before is told to end, whatever connections it has. Envoy: `--parent-shutdown-time-s`. */
  readonly parentShutdownMs: number;
  /** Milliseconds that this process serves beside the one before, which goes on if it fails meanwhile; 0: it takes over at once. */
  readonly trialMs: number;
}
