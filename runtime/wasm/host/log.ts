/** `proxy_log` and `proxy_get_log_level`. */
import * as LogLevel from "../../../abi/log-level.ts";
import * as Status from "../../../abi/status.ts";
import { MAX_GUEST_LOG_BYTES } from "../../limits.ts";
import type { Instance } from "../instance/instance.ts";
import { putU32 } from "./give.ts";
import type { HostFunctions } from "./functions.ts";

export function logFunctions(instance: Instance): HostFunctions {
  const memory = instance.memory;
  const { log } = instance.facts.environment;
  return {
    proxy_log(level: number, at: number, size: number): number {
      if (level >>> 0 > LogLevel.CRITICAL) return instance.refuse(Status.BAD_ARGUMENT, "proxy_log", "level: unknown");
      if (!memory.has(at >>> 0, size >>> 0)) return instance.outside("proxy_log", "text");
      if (log.enabled(level)) instance.log(level, memory.utf8(at >>> 0, Math.min(size >>> 0, MAX_GUEST_LOG_BYTES)));
      return Status.OK;
    },

    proxy_get_log_level(levelAt: number): number {
      let level: number = LogLevel.TRACE;
      while (level < LogLevel.CRITICAL && !log.enabled(level)) level++;
      return putU32(instance, "proxy_get_log_level", "level_p", levelAt >>> 0, level);
    },
  };
}
