/** Connections through a listener with filters that a test writes down, over real sockets. */
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import type { TestContext } from "node:test";
import type { ListenerConfig } from "../../runtime/config/snapshot.ts";
import type { ListenerSet } from "../../runtime/listener/listener-set.ts";
import { NetworkStatus } from "../../runtime/network/filter.ts";
import type {
  ConnectionView,
  FilterView,
  NetworkFilter,
  NetworkFilterFactory,
  TerminalFilter,
} from "../../runtime/network/filter.ts";
import { StatsStore } from "../../runtime/observe/stats.ts";
import { config, ip, start } from "./fixture.ts";

export interface Served {
  readonly port: number;
  readonly set: ListenerSet;
  readonly stats: StatsStore;
}

/** Serves one chain on a free port; everything ends with the test. */
export async function serve(
  t: TestContext,
  factories: readonly NetworkFilterFactory[],
  more: Partial<ListenerConfig> = {},
  stats = new StatsStore(() => {}),
): Promise<Served> {
  const listener = config(ip("127.0.0.1"), { perConnectionBufferLimitBytes: 1024 * 1024, ...more });
  const { set } = await start(t, [listener], factories, 0, stats);
  return { port: set.bound[0]!.port, set, stats };
}

/** A downstream that remembers what it got. */
export interface Peer {
  readonly socket: Socket;
  readonly text: () => string;
  /** Resolves when the proxy has closed its side, with everything it sent. */
  readonly ended: Promise<string>;
  /** Resolves when the connection is gone; true when by RST. */
  readonly gone: Promise<boolean>;
}

/** `halfOpen`: the peer does not end its side when the proxy has ended its own. */
export async function dial(t: TestContext, port: number, halfOpen = false): Promise<Peer> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: halfOpen });
  t.after(() => socket.destroy());
  let text = "";
  let reset = false;
  socket.on("data", (data) => (text += data.toString("latin1")));
  socket.on("error", (error: NodeJS.ErrnoException) => (reset ||= error.code === "ECONNRESET"));
  const ended = new Promise<string>((resolve) => socket.once("end", () => resolve(text)));
  const gone = new Promise<boolean>((resolve) => socket.once("close", () => resolve(reset)));
  await once(socket, "connect");
  return { socket, text: () => text, ended, gone };
}

/** The system's own, whatever a test makes of time (StillClock). */
const { setTimeout: later } = globalThis;
/** Seconds after which a condition will not come any more, on the slowest machine. */
const PATIENCE_S = 90;

/** Waits until a condition holds. Throws what `what` says when it does not. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = process.uptime() + PATIENCE_S;
  while (!condition()) {
    if (process.uptime() > deadline) throw new Error(`not within ${PATIENCE_S} s: ${what}`);
    await new Promise((resolve) => later(resolve, 2));
  }
}

/** A filter that does nothing but what is overridden. */
export class Plain implements NetworkFilter {
  readonly view: FilterView;
  constructor(view: FilterView) {
    this.view = view;
  }
  onNewConnection(): number {
    return NetworkStatus.CONTINUE;
  }
  onData(_bytes: Parameters<NetworkFilter["onData"]>[0], _endStream: boolean): number {
    return NetworkStatus.CONTINUE;
  }
  onWrite(_bytes: Parameters<NetworkFilter["onWrite"]>[0], _endStream: boolean): number {
    return NetworkStatus.CONTINUE;
  }
  onClose(_local: boolean): void {}
}

export function passing(
  create: (view: FilterView) => NetworkFilter,
  more: { reads?: boolean; writes?: boolean } = {},
): NetworkFilterFactory {
  return { name: "passing", terminal: false, reads: more.reads ?? true, writes: more.writes ?? true, create };
}

/** A terminal filter that does nothing but what is overridden. */
export class End implements TerminalFilter {
  readonly connection: ConnectionView;
  constructor(connection: ConnectionView) {
    this.connection = connection;
  }
  onNewConnection(): void {}
  onData(_data: Buffer, _endStream: boolean): void {}
  onWritable(): void {}
  onDraining(): void {}
  onClose(_local: boolean): void {}
}

export function terminal(create: (connection: ConnectionView) => TerminalFilter): NetworkFilterFactory {
  return { name: "terminal", terminal: true, create };
}
