/** What AssemblyScript's standard library imports from `env`, and two leftovers of emscripten. */
import * as LogLevel from "../../../abi/log-level.ts";
import { MAX_CONSOLE_TIMERS, MAX_GUEST_LOG_BYTES } from "../../limits.ts";
import { GuestExit } from "../instance/failure.ts";
import type { Instance } from "../instance/instance.ts";
import type { HostFunctions } from "./functions.ts";

/** `Math.sin` and the others by their import names. */
const MATH: HostFunctions = Object.fromEntries(
  Object.entries(Object.getOwnPropertyDescriptors(Math))
    .filter(([, { value }]) => typeof value === "function")
    .map(([name, { value }]) => [`Math.${name}`, value as (...args: number[]) => number]),
);

/** An AssemblyScript string: UTF-16, its length in bytes stands four bytes before it. */
function stringAt(instance: Instance, at: number): string {
  const memory = instance.memory;
  const start = at >>> 0;
  if (start < 4 || !memory.has(start - 4, 4)) return "";
  const size = Math.min(memory.view.getUint32(start - 4, true), MAX_GUEST_LOG_BYTES);
  return memory.has(start, size) ? memory.bytes.toString("utf16le", start, start + size) : "";
}

export function assemblyScriptFunctions(instance: Instance): HostFunctions {
  const timers = new Map<string, number>();

  function elapsed(label: number): string {
    const name = stringAt(instance, label);
    return `${name}: ${(performance.now() - (timers.get(name) ?? performance.now())).toFixed(3)}ms`;
  }
  function logAt(level: number): (text: number) => void {
    return (text) => instance.log(level, stringAt(instance, text));
  }

  return {
    abort(message: number, file: number, line: number, column: number): void {
      const text = stringAt(instance, message) || "abort";
      const where = `${stringAt(instance, file) || "?"}:${line >>> 0}:${column >>> 0}`;
      throw new GuestExit(`${text} at ${where}`, "abort");
    },
    seed: (): number => Date.now() * Math.random(),
    trace(message: number, count: number, ...numbers: number[]): void {
      const shown = numbers.slice(0, Math.max(0, Math.min(count, 5)));
      instance.log(LogLevel.INFO, ["trace:", stringAt(instance, message), ...shown].join(" "));
    },
    "console.assert"(condition: number, text: number): void {
      if (condition === 0) instance.log(LogLevel.ERROR, `assertion failed: ${stringAt(instance, text)}`);
    },
    "console.log": logAt(LogLevel.INFO),
    "console.debug": logAt(LogLevel.DEBUG),
    "console.info": logAt(LogLevel.INFO),
    "console.warn": logAt(LogLevel.WARN),
    "console.error": logAt(LogLevel.ERROR),
    "console.time": (label: number): void => {
      if (timers.size < MAX_CONSOLE_TIMERS) timers.set(stringAt(instance, label), performance.now());
    },
    "console.timeLog": (label: number): void => instance.log(LogLevel.INFO, elapsed(label)),
    "console.timeEnd": (label: number): void => {
      instance.log(LogLevel.INFO, elapsed(label));
      timers.delete(stringAt(instance, label));
    },
    "Date.now": (): number => Date.now(),
    "performance.now": (): number => performance.now(),
    "process.exit"(code: number): void {
      throw new GuestExit(`process.exit(${code})`, "exit", code);
    },

    ...MATH,
    emscripten_notify_memory_growth: (): void => {},
    pthread_equal: (a: number, b: number): number => (a === b ? 1 : 0),
  };
}
