/**
 * A process in a row of processes that take listening sockets over from each other: the side towards the one before,
 * and the side towards the one after. Loaded only by who is in such a row (`--base-id`, `--restart-epoch`).
 */
import { platform } from "node:os";
import type { Address } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { LAST_CONNECTION_LOOK_MS } from "../limits.ts";
import { formatAddress } from "../listener/address.ts";
import type { LentSocket } from "../listener/listening-socket.ts";
import { closeDescriptor } from "../listener/native-sockets.ts";
import type { Log } from "../observe/log.ts";
import type { WorkerPool } from "../worker/pool.ts";
import type { RestartPlace } from "./hand-over-protocol.ts";
import { Predecessor } from "./predecessor.ts";
import { SuccessorDoor } from "./successor-door.ts";
import type { Lender } from "./successor-door.ts";

/** What the row needs from the process. */
export interface RestartingProcess {
  readonly pool: WorkerPool;
  readonly log: Log;
  /** Milliseconds of a drain until every response asks downstream to leave; 0: at once. */
  readonly drainOverMs: number;
  /** As it is configured; undefined: no admin interface. */
  readonly adminAddress: Address | undefined;
  /** All workers accept. */
  isLive(): boolean;
  /** Its listening socket, once more. */
  lendAdmin(): number | null;
  /** The successor accepts: the admin interface closes. */
  onHandOver(): void;
  /** Time to end. */
  end(why: string): void;
}

export class HotRestart implements Lender {
  readonly #place: RestartPlace;
  readonly #process: RestartingProcess;
  readonly #door: SuccessorDoor;
  #predecessor: Predecessor | null = null;
  #watch: NodeJS.Timeout | null = null;
  #shutdown: NodeJS.Timeout | null = null;

  private constructor(place: RestartPlace, process: RestartingProcess) {
    this.#place = place;
    this.#process = process;
    this.#door = new SuccessorDoor(this, process.log);
  }

  /** Takes the place in the row. Rejects with ProxyError HOT_RESTART; then the process before goes on. */
  static async begin(place: RestartPlace, process: RestartingProcess): Promise<HotRestart> {
    if (platform() !== "linux") throw new ProxyError("HOT_RESTART", "config", "hot restart works on Linux only");
    const restart = new HotRestart(place, process);
    await restart.#door.open(place);
    if (place.epoch === 0) return restart;
    const predecessor = Predecessor.take(place);
    restart.#predecessor = predecessor;
    process.log.info(`hot restart: ${predecessor.sockets.length} listening sockets of epoch ${place.epoch - 1}`);
    if (!restart.takesAdmin && predecessor.adminDescriptor !== null) closeDescriptor(predecessor.adminDescriptor);
    return restart;
  }

  /** Sockets for the pool. */
  get lent(): readonly LentSocket[] {
    return this.#predecessor?.sockets ?? [];
  }

  /** The admin interface has the address of the one before, so it can start only when that one has stopped. */
  get takesAdmin(): boolean {
    const { adminAddress } = this.#process;
    return adminAddress !== undefined && this.#predecessor?.admin === formatAddress(adminAddress);
  }

  get adminDescriptor(): number | null {
    return this.#predecessor?.adminDescriptor ?? null;
  }

  /** This process accepts; the one before stops that, and ends when its connections have. */
  async takeOver(): Promise<void> {
    const predecessor = this.#predecessor;
    if (predecessor === null) return;
    const { log } = this.#process;
    if (!(await predecessor.drain())) log.warning("hot restart: the process before ended by itself");
    predecessor.terminateIn(this.#place.parentShutdownMs);
    void predecessor.gone.then(() => log.info("hot restart: the process before has ended"));
  }

  stop(): void {
    this.#door.close();
    if (this.#watch !== null) clearInterval(this.#watch);
    if (this.#shutdown !== null) clearTimeout(this.#shutdown);
  }

  // What the process after this one asks.

  get ready(): boolean {
    return this.#process.isLive();
  }

  async lend(): ReturnType<Lender["lend"]> {
    const { pool, adminAddress } = this.#process;
    const sockets = await pool.lend();
    return {
      sockets,
      admin: adminAddress === undefined ? null : formatAddress(adminAddress),
      adminDescriptor: this.#process.lendAdmin(),
    };
  }

  async handOver(): Promise<void> {
    const { pool, log, drainOverMs } = this.#process;
    log.info("hot restart: the next process accepts; draining");
    this.#process.onHandOver();
    pool.setDrainClose("drain", true, drainOverMs);
    await pool.handOver();
    // Two looks: a connection on its way from one worker to another is counted by neither.
    let quiet = 0;
    this.#watch = setInterval(() => {
      quiet = pool.openSockets === 0 ? quiet + 1 : 0;
      if (quiet === 2) this.#process.end("hot restart, and no connection is left");
    }, LAST_CONNECTION_LOOK_MS);
    // The successor says so, too; but it may be gone by then.
    this.#shutdown = setTimeout(() => this.terminate(), this.#place.parentShutdownMs);
  }

  terminate(): void {
    this.#process.end("hot restart, and the time for connections is over");
  }
}
