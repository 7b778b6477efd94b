/** What systemd, or whoever else started the process, is told of it: sd_notify(3). */
import { ProxyError } from "../errors.ts";
import { sendDatagram } from "../listener/native-sockets.ts";
import type { Log } from "../observe/log.ts";

/**
 * Tells the service manager that the process serves, and which one it is: with a launcher in front of it, and after a hot
 * restart, not the one that was started. Nothing happens where nobody asked for it (NOTIFY_SOCKET).
 */
export function tellReady(log: Log): void {
  const name = process.env["NOTIFY_SOCKET"] ?? "";
  if (name === "") return;
  try {
    // An abstract name is written with @ in the place of NUL.
    sendDatagram(name.replace(/^@/, "\0"), Buffer.from(`READY=1\nMAINPID=${process.pid}\n`));
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    log.warning(`the service manager cannot be told that this process serves: ${error.message}`);
  }
}
