/**
 * A process in a row of processes that take listening sockets over from each other: the side towards the one before,
 * and the side towards the one after. Loaded only by who is in such a row (`--base-id`, `--restart-epoch`).
 */
import { platform } from "node:os";
import type { Address } from "../config/snapshot.ts";
import { ProxyError } from "../errors.ts";
import { HAND_OVER_MS, LAST_CONNECTION_LOOK_MS } from "../limits.ts";
import { addressText } from "../observe/address-text.ts";
import type { LentSocket } from "../listener/listening-socket.ts";
import { closeDescriptor } from "../listener/native-sockets.ts";
import type { Log } from "../observe/log.ts";
import type { WorkerPool } from "../worker/pool.ts";
import { openEpochs } from "./hand-over-protocol.ts";
import type { PluginNote, RestartPlace } from "./hand-over-protocol.ts";
import { Predecessor } from "./predecessor.ts";
import { SuccessorDoor } from "./successor-door.ts";
import type { Lender } from "./successor-door.ts";

/** What the row needs from the process. */
export interface RestartingProcess {
  readonly pool: WorkerPool;
  readonly log: Log;
  /** Milliseconds of a drain until every response asks downstream to leave; 0: at once. */
  readonly drainOverMs: number;
  readonly startedAt: Date;
  /** As it is configured; undefined: no admin interface. */
  readonly adminAddress: Address | undefined;
  /** All workers accept. */
  isLive(): boolean;
  /** Its listening socket, once more. */
  lendAdmin(): number | null;
  /** Plugins whose versions were changed while it ran. */
  plugins(): Promise<readonly PluginNote[]>;
  /** Digest of the module that a plugin begins with; undefined: there is no such plugin. */
  configured(plugin: string): string | undefined;
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
  #lostOne = false;
  readonly #workerLost: Promise<void>;
  #tellLost: () => void = () => {};
  #watch: NodeJS.Timeout | null = null;
  #shutdown: NodeJS.Timeout | null = null;

  private constructor(place: RestartPlace, process: RestartingProcess) {
    this.#place = place;
    this.#process = process;
    this.#door = new SuccessorDoor(this, process.log);
    this.#workerLost = new Promise((resolve) => (this.#tellLost = resolve));
  }

  /** Takes the place in the row. Rejects with ProxyError HOT_RESTART; then the process before goes on. */
  static async begin(place: RestartPlace, process: RestartingProcess): Promise<HotRestart> {
    if (platform() !== "linux") throw new ProxyError("HOT_RESTART", "config", "hot restart works on Linux only");
    const restart = new HotRestart(place, process);
    await restart.#door.open(place);
    if (place.epoch === 0) return restart;
    const predecessor = Predecessor.take(place);
    if (predecessor === null) {
      restart.#startAlone();
      return restart;
    }
    restart.#predecessor = predecessor;
    process.log.info(`hot restart: ${predecessor.sockets.length} listening sockets of epoch ${place.epoch - 1}`);
    restart.#tellOfPlugins(predecessor.plugins);
    if (!restart.takesAdmin && predecessor.adminDescriptor !== null) closeDescriptor(predecessor.adminDescriptor);
    return restart;
  }

  /** There is nobody to take over from. Whoever has mistaken the epoch must not serve beside one that does; else this one serves. */
  #startAlone(): void {
    const { baseId, epoch } = this.#place;
    const others = openEpochs(baseId).filter((one) => one !== epoch);
    if (others.length > 0)
      throw new ProxyError(
        "HOT_RESTART",
        "config",
        `cannot take over from the process with base id ${baseId} and restart epoch ${epoch - 1}: there is none; epoch ${others.join(", ")} runs, from which --restart-epoch ${others.at(-1)! + 1} takes over`,
      );
    this.#process.log.warning(
      `hot restart: no process with base id ${baseId} is there to take over from: this one starts without`,
    );
  }

  /** When the first process of the row started, in milliseconds of the epoch. */
  get firstStartMs(): number {
    return this.#predecessor?.firstStartMs ?? this.#process.startedAt.getTime();
  }

  /** Sockets for the pool. */
  get lent(): readonly LentSocket[] {
    return this.#predecessor?.sockets ?? [];
  }

  /** The admin interface has the address of the one before, so it can start only when that one has stopped. */
  get takesAdmin(): boolean {
    const { adminAddress } = this.#process;
    return adminAddress !== undefined && this.#predecessor?.admin === addressText(adminAddress);
  }

  get adminDescriptor(): number | null {
    return this.#predecessor?.adminDescriptor ?? null;
  }

  /** This process accepts; the one before stops that, and ends when its connections have. */
  async takeOver(): Promise<void> {
    const predecessor = this.#predecessor;
    if (predecessor === null) return;
    const { log } = this.#process;
    if (this.#place.trialMs > 0) await this.#trial(predecessor);
    if (!(await predecessor.drain())) log.warning("hot restart: the process before ended by itself");
    predecessor.terminateIn(this.#place.parentShutdownMs);
    void predecessor.gone.then(() => log.info("hot restart: the process before has ended"));
  }

  /** Both processes serve for a while. Rejects with ProxyError HOT_RESTART when this one has not stood it. */
  async #trial(predecessor: Predecessor): Promise<void> {
    const { log } = this.#process;
    const { epoch, trialMs } = this.#place;
    log.info(`hot restart: serving on trial beside epoch ${epoch - 1}, for ${trialMs / 1000} s`);
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<void>((resolve) => (timer = setTimeout(resolve, trialMs).unref()));
    await Promise.race([over, predecessor.gone, this.#workerLost]);
    clearTimeout(timer);
    if (this.#lostOne)
      throw new ProxyError("HOT_RESTART", "internal", `a worker was lost on trial: epoch ${epoch - 1} goes on`);
  }

  /** On trial that is the end of this process. */
  workerLost(): void {
    this.#lostOne = true;
    this.#tellLost();
  }

  /** This process begins as any does, with what is configured: versions and trials of the one before do not go over. */
  #tellOfPlugins(plugins: readonly PluginNote[]): void {
    const short = (sha256: string): string => `sha256 ${sha256.slice(0, 12)}`;
    for (const { name, sha256, candidate } of plugins) {
      const own = this.#process.configured(name);
      if (own === undefined) continue;
      const { log } = this.#process;
      if (own !== sha256)
        log.warning(
          `plugin ${name}: this process begins with the configured module (${short(own)}), the one before had loaded another (${short(sha256)})`,
        );
      if (candidate !== "" && candidate !== own)
        log.warning(
          `plugin ${name}: the process before was trying a version (${short(candidate)}); its trial ends with it, load it again`,
        );
    }
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
    // What can fail comes first: what the workers lend would belong to nobody then.
    const plugins = await this.#process.plugins();
    const adminDescriptor = this.#process.lendAdmin();
    const sockets = await pool.lend();
    const admin = adminAddress === undefined ? null : addressText(adminAddress);
    return { sockets, admin, adminDescriptor, plugins, firstStartMs: this.firstStartMs };
  }

  async handOver(): Promise<void> {
    const { pool, log, drainOverMs } = this.#process;
    log.info("hot restart: the next process accepts; draining");
    this.#door.shut();
    this.#process.onHandOver();
    await pool.setDrainClose("drain", true, drainOverMs);
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

  orphaned(): void {
    const { baseId, epoch } = this.#place;
    const from = performance.now();
    // Another one may have taken over from it; and what is left of it may go a moment later than its connection.
    const look = setInterval(() => {
      const alone = openEpochs(baseId).length === 0;
      if (alone)
        this.#process.log.critical(
          `hot restart: the process that took over has ended, and this one finishes its connections only: nobody serves; --restart-epoch ${epoch + 1} once more starts without either`,
        );
      if (alone || performance.now() - from > HAND_OVER_MS) clearInterval(look);
    }, LAST_CONNECTION_LOOK_MS).unref();
  }

  terminate(): void {
    this.#process.end("hot restart, and the time for connections is over");
  }
}
