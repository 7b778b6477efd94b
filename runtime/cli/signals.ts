/**
 * What signals mean: SIGTERM and SIGINT ask for an end (the second one insists), SIGUSR1 reopens access
 * logs as in Envoy, SIGHUP reads the configuration anew, which Envoy ignores. Node would open its debugger on SIGUSR1; a listener
 * takes the signal away from it.
 */
import { SIGNAL_ECHO_MS } from "../limits.ts";

export interface SignalOwner {
  /** The first request to end. */
  onEnd(signal: string): void;
  /** The second one: end at once. */
  onEndNow(signal: string): void;
  onReopenLogs(): void;
  onReload(): void;
}

/** `clock` tells milliseconds. */
export function handleSignals(owner: SignalOwner, clock: () => number = () => performance.now()): void {
  let firstAt = -1;
  const onEnd = (signal: string): void => {
    const now = clock();
    if (firstAt === -1) {
      firstAt = now;
      owner.onEnd(signal);
    } else if (now - firstAt > SIGNAL_ECHO_MS) {
      owner.onEndNow(signal);
    }
  };
  process.on("SIGTERM", onEnd);
  process.on("SIGINT", onEnd);
  process.on("SIGUSR1", () => owner.onReopenLogs());
  process.on("SIGHUP", () => owner.onReload());
}
