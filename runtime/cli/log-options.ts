/** Log levels as the command line writes them. */
import { parseLogLevel } from "../observe/log.ts";
import type { LogLevel } from "../observe/log.ts";

/** Throws ProxyError for a level that is unknown. */
export function readLevel(text: string): LogLevel {
  return parseLogLevel(text);
}

/** Reads `a:debug,b:info`. Throws ProxyError for a level that is unknown. */
export function readComponentLevels(text: string): (readonly [name: string, level: LogLevel])[] {
  return text.split(",").map((pair) => {
    const colon = pair.indexOf(":");
    return [pair.slice(0, Math.max(0, colon)), parseLogLevel(pair.slice(colon + 1))] as const;
  });
}
