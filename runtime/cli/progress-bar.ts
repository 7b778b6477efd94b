/** A bar on terminals for transfers that take long; nothing for quick ones, and nothing where no person looks. */
import { PROGRESS_AFTER_MS, PROGRESS_EVERY_MS } from "../limits.ts";

const WIDTH = 24;

export interface ProgressBar {
  readonly update: (done: number, total: number) => void;
  /** Takes the bar away. */
  end(): void;
}

export function progressBar(label: string, stream: NodeJS.WriteStream = process.stderr): ProgressBar {
  const startMs = performance.now();
  let drawnMs = -Infinity;
  let drawn = false;
  return {
    update(done, total) {
      const nowMs = performance.now();
      if (!stream.isTTY || nowMs - startMs < PROGRESS_AFTER_MS || nowMs - drawnMs < PROGRESS_EVERY_MS) return;
      drawnMs = nowMs;
      drawn = true;
      stream.write(`\r${barText(label, done, total, nowMs - startMs)}\u001b[K`);
    },
    end() {
      if (drawn) stream.write("\r\u001b[K");
    },
  };
}

/** `label ████░░░░ 42 % 1.2 MiB/s`. */
export function barText(label: string, done: number, total: number, elapsedMs: number): string {
  const share = total === 0 ? 1 : Math.min(done / total, 1);
  const filled = Math.round(share * WIDTH);
  const rate = elapsedMs === 0 ? 0 : done / 1024 / 1024 / (elapsedMs / 1000);
  return `${label} ${"█".repeat(filled)}${"░".repeat(WIDTH - filled)} ${Math.floor(share * 100)} % ${rate.toFixed(1)} MiB/s`;
}
