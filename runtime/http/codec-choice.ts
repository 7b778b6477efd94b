/**
 * A connection whose version of HTTP is not known before its first bytes (codec_type AUTO without ALPN): the
 * preface of HTTP/2 with prior knowledge makes it one of HTTP/2, anything else HTTP/1.
 */
import { H2_PREFACE } from "../codec/h2-codes.ts";
import type { ConnectionView, TerminalFilter } from "../network/filter.ts";
import { Deadline } from "../timers.ts";
import type { ConnectionManager } from "./connection-manager.ts";
import { H2Session } from "./h2-session.ts";
import { Session } from "./session.ts";

/** The deadline of the base class is the idle timeout until the choice. */
export class CodecChoice extends Deadline implements TerminalFilter {
  readonly #manager: ConnectionManager;
  readonly #connection: ConnectionView;
  #chosen: TerminalFilter | null = null;
  /** What came and is as much of the preface as it is. */
  #early: Buffer = NO_BYTES;

  constructor(manager: ConnectionManager, connection: ConnectionView) {
    super();
    this.#manager = manager;
    this.#connection = connection;
  }

  onNewConnection(): void {
    const { stats, config } = this.#manager;
    stats.cxTotal.inc();
    stats.cxActive.inc();
    if (config.idleTimeoutMs > 0) this.arm(config.idleTimeoutMs);
  }

  onData(data: Buffer, endStream: boolean): void {
    if (this.#chosen === null) this.#choose(data, endStream);
    else this.#chosen.onData(data, endStream);
  }

  onWritable(): void {
    this.#chosen?.onWritable();
  }

  onDraining(): void {
    if (this.#chosen === null) this.#connection.close(this.#manager.config.delayedCloseTimeoutMs);
    else this.#chosen.onDraining();
  }

  onClose(local: boolean): void {
    this.disarm();
    if (this.#chosen !== null) {
      this.#chosen.onClose(local);
      return;
    }
    const { stats } = this.#manager;
    stats.cxActive.dec();
    stats.cxDestroy.inc();
  }

  onDeadline(): void {
    this.#manager.stats.cxIdleTimeout.inc();
    this.#connection.close(this.#manager.config.delayedCloseTimeoutMs);
  }

  #choose(data: Buffer, endStream: boolean): void {
    const bytes = this.#early.length === 0 ? data : Buffer.concat([this.#early, data]);
    const known = Math.min(bytes.length, H2_PREFACE.length);
    const same = known > 0 && bytes.compare(H2_PREFACE, 0, known, 0, known) === 0;
    if (same && known < H2_PREFACE.length && !endStream) {
      this.#early = Buffer.from(bytes);
      return;
    }
    this.disarm();
    const session = same && known === H2_PREFACE.length ? H2Session : Session;
    const chosen = new session(this.#manager, this.#connection);
    this.#chosen = chosen;
    this.#early = NO_BYTES;
    chosen.begin();
    chosen.onData(bytes, endStream);
  }
}

const NO_BYTES = Buffer.alloc(0);
