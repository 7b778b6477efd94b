/**
 * Connections that `sluice dev` has seen, opened again to each new version, and where what comes back differs. Bytes are sent
 * in the turns in which they came the first time: each waits for as many bytes of the other side as it had waited for then.
 */
import { connect } from "node:net";
import {
  MAX_OPEN_RECORDINGS,
  MAX_REPLAYED_BYTES,
  MAX_REPLAYED_REQUESTS,
  REPLAY_ANSWER_MS,
  REPLAY_QUIET_MS,
  REPLAY_TIMEOUT_MS,
} from "../limits.ts";
import type { Difference, Replays } from "./dev-screen.ts";

/** Bytes from downstream without anything coming back in between. */
interface Turn {
  /** Bytes that had come back before. */
  readonly after: number;
  readonly pieces: Buffer[];
}

interface Recording {
  readonly turns: Turn[];
  /** Bytes that came back. */
  received: number;
  /** Downstream has said that nothing follows. */
  ended: boolean;
  /** The proxy has ended it. */
  closed: boolean;
}

/** What came back, and whether the proxy closed the connection. */
export interface Echo {
  readonly bytes: Buffer;
  readonly closed: boolean;
}

interface Kept {
  readonly recording: Recording;
  echo: Echo | undefined;
}

export class ConnectionReplays implements Replays {
  readonly what = "connection";
  /** By the address that they come from. */
  readonly #open = new Map<string, Recording>();
  /** The newest few, each once: by what they send. */
  readonly #kept = new Map<string, Kept>();
  /** Addresses of the connections that are made here. */
  readonly #own = new Set<string>();

  get size(): number {
    return this.#kept.size;
  }

  take(message: string): boolean {
    const found = /connection (\S+) (opens|large|ends|closes|is-closed|sends ([0-9a-f]+)|gets (\d+))$/.exec(message);
    if (found === null) return false;
    const [, source = "", what = "", sent, got] = found;
    if (this.#own.has(source)) {
      if (what === "closes" || what === "is-closed") this.#own.delete(source);
      // The log may have told of it before its address was known here.
      this.#open.delete(source);
      return false;
    }
    if (what === "opens") this.#begin(source);
    const recording = this.#open.get(source);
    if (recording === undefined) return false;
    if (sent !== undefined) send(recording, Buffer.from(sent, "hex"));
    else if (got !== undefined) recording.received += Number(got);
    else if (what === "ends") recording.ended = true;
    else if (what === "large") this.#open.delete(source);
    else if (what === "closes" || what === "is-closed") {
      recording.closed = what === "is-closed";
      this.#open.delete(source);
      return this.#keep(recording);
    }
    return false;
  }

  #begin(source: string): void {
    this.#open.set(source, { turns: [], received: 0, ended: false, closed: false });
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= MAX_OPEN_RECORDINGS) break;
      this.#open.delete(oldest);
    }
  }

  #keep(recording: Recording): boolean {
    if (recording.turns.length === 0) return false;
    const key = keyOf(recording);
    const known = this.#kept.get(key);
    this.#kept.delete(key);
    this.#kept.set(key, { recording, echo: known?.echo });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_REPLAYED_REQUESTS) break;
      this.#kept.delete(oldest);
    }
    return known?.echo === undefined;
  }

  async prime(origin: string): Promise<void> {
    const wanted = [...this.#kept.values()].filter(({ echo }) => echo === undefined);
    await Promise.all(wanted.map(async (kept) => (kept.echo = await this.#again(origin, kept.recording))));
  }

  async compare(origin: string): Promise<Difference[]> {
    const all = await Promise.all(
      [...this.#kept.values()].map(async (kept): Promise<Difference | undefined> => {
        const before = kept.echo;
        kept.echo = await this.#again(origin, kept.recording);
        if (before === undefined) return undefined;
        const lines = echoDifference(before, kept.echo);
        return lines.length === 0 ? undefined : { what: nameOf(kept.recording), lines };
      }),
    );
    return all.filter((one) => one !== undefined);
  }

  /** Makes a connection like the one that was recorded. It always comes to an end. */
  #again(origin: string, recording: Recording): Promise<Echo> {
    const cut = origin.lastIndexOf(":");
    const socket = connect({
      host: origin.slice(0, cut).replaceAll(/[[\]]/g, ""),
      port: Number(origin.slice(cut + 1)),
    });
    socket.setNoDelay(true);
    return new Promise((resolve) => {
      const pieces: Buffer[] = [];
      let received = 0;
      let turn = 0;
      let quiet: NodeJS.Timeout | undefined;
      const done = (closed: boolean): void => {
        clearTimeout(quiet);
        clearTimeout(whole);
        socket
          .removeAllListeners()
          .on("error", () => {})
          .destroy();
        resolve({ bytes: Buffer.concat(pieces), closed });
      };
      const whole = setTimeout(() => done(false), REPLAY_TIMEOUT_MS);
      /** Says what is due, or waits for what came the first time. */
      const next = (late: boolean): void => {
        clearTimeout(quiet);
        const due = recording.turns[turn];
        const expected = due?.after ?? recording.received;
        if (received < expected && !late) quiet = setTimeout(() => next(true), REPLAY_ANSWER_MS);
        else if (due === undefined)
          quiet = setTimeout(() => done(false), recording.closed ? REPLAY_ANSWER_MS : REPLAY_QUIET_MS);
        else {
          turn++;
          socket.write(Buffer.concat(due.pieces));
          if (turn === recording.turns.length && recording.ended) socket.end();
          next(false);
        }
      };
      socket
        .on("connect", () => {
          this.#own.add(
            `${socket.localAddress!.includes(":") ? `[${socket.localAddress}]` : socket.localAddress}:${socket.localPort}`,
          );
          next(false);
        })
        .on("data", (data: Buffer) => {
          const room = MAX_REPLAYED_BYTES - received;
          received += data.length;
          if (room > 0) pieces.push(data.subarray(0, room));
          next(false);
        })
        .on("error", () => done(true))
        .on("end", () => done(true));
    });
  }
}

function send(recording: Recording, bytes: Buffer): void {
  const last = recording.turns.at(-1);
  if (last !== undefined && last.after === recording.received) last.pieces.push(bytes);
  else recording.turns.push({ after: recording.received, pieces: [bytes] });
}

function keyOf({ turns, ended }: Recording): string {
  return JSON.stringify([ended, ...turns.map(({ pieces }) => Buffer.concat(pieces).toString("base64"))]);
}

/** The first bytes that it sends. */
function nameOf({ turns }: Recording): string {
  const sent = Buffer.concat(turns.flatMap(({ pieces }) => pieces));
  return `a connection that sends ${shown(sent, 0, NAME_BYTES)}`;
}

/** Bytes of what a connection sends that stand for it. */
const NAME_BYTES = 32;
/** Bytes that are shown of a difference, and before it. */
const SHOWN_BYTES = 64;
const LEAD_BYTES = 16;

/** Lines `- before` and `+ after` of what came back; long ones from shortly before the first byte that differs. */
export function echoDifference(before: Echo, after: Echo): string[] {
  const lines: string[] = [];
  if (!before.bytes.equals(after.bytes)) {
    let same = 0;
    while (same < before.bytes.length && before.bytes[same] === after.bytes[same]) same++;
    const from = Math.max(0, same - LEAD_BYTES);
    const place = from === 0 ? "" : ` from byte ${from}`;
    lines.push(`- gets${place}: ${shown(before.bytes, from, SHOWN_BYTES)}`);
    lines.push(`+ gets${place}: ${shown(after.bytes, from, SHOWN_BYTES)}`);
  }
  if (before.closed !== after.closed) {
    lines.push(before.closed ? "- is closed" : "- stays open", after.closed ? "+ is closed" : "+ stays open");
  }
  return lines;
}

/** Text as it is, other bytes in hexadecimal. */
function shown(bytes: Buffer, from: number, most: number): string {
  if (bytes.length === from) return "nothing";
  const part = bytes.subarray(from, from + most);
  const more = bytes.length > from + most ? "…" : "";
  const text = part.toString("latin1");
  if (/^[\t\r\n\u0020-\u007e]*$/.test(text)) return `${JSON.stringify(text)}${more}`;
  return `${part.toString("hex").replaceAll(/(..)(?=.)/g, "$1 ")}${more}`;
}
