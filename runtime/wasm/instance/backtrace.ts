/**
 * What the log says when a guest fails: which plugin, what, where; then the guest's functions, innermost first, with
 * lines of their sources as far as the module brings them.
 */
import { HOST_FUNCTIONS } from "../../../abi/functions.ts";
import { BACKTRACES_PER_SECOND, MAX_BACKTRACE_LINES, STACK_FRAMES } from "../../limits.ts";
import type { LoadedModule } from "../module/module.ts";
import { Resolver } from "../module/symbols-resolve.ts";
import type { GuestFrame } from "../module/symbols-resolve.ts";
import { describeFailure } from "./failure.ts";
import type { FailureReason } from "./failure.ts";

/** What is known of a failure; instance.ts GuestFailure is one. */
interface Failure {
  readonly error: unknown;
  readonly reason: FailureReason;
  readonly callback: string;
  readonly context: { readonly id: number; readonly root: { readonly id: number } | null };
}

const hostNames = new Set(HOST_FUNCTIONS.map(({ name }) => name));
/** By module: modules live as long as their VMs. */
const resolvers = new WeakMap<LoadedModule, Resolver>();

/** Describes the failures of one VM. */
export class FailureReport {
  readonly #module: LoadedModule;
  /** Backtraces in the second that began at `#windowMs`. */
  #shown = 0;
  #windowMs = -Infinity;

  constructor(module: LoadedModule) {
    this.#module = module;
    // Ten frames, V8's default, are used up by the host's own. It costs when an error is made, not before.
    Error.stackTraceLimit = Math.max(Error.stackTraceLimit, STACK_FRAMES);
  }

  /** The plugin as failures name it: `NAME (VERSION, sha256 0123456789ab)`. */
  title(plugin: string): string {
    const { manifest, sha256 } = this.#module;
    const version = manifest?.version === undefined ? "" : `${manifest.version}, `;
    return `${plugin} (${version}sha256 ${sha256.slice(0, 12)})`;
  }

  /** The whole text: a line, and below it the backtrace unless there have just been many. */
  describe(failure: Failure, plugin: string): string {
    const { error, reason, callback, context } = failure;
    const root = context.root !== null && context.root.id !== context.id ? ` (root ${context.root.id})` : "";
    const what = describeFailure(error, reason);
    return `plugin ${this.title(plugin)}: ${what} in ${callback}, context ${context.id}${root}${this.trace(error)}`;
  }

  /** The backtrace of what a guest call threw, each line behind a line break; "" when there is none. */
  trace(error: unknown): string {
    if (!(error instanceof Error)) return "";
    const nowMs = performance.now();
    if (nowMs - this.#windowMs >= 1000) {
      this.#windowMs = nowMs;
      this.#shown = 0;
    }
    if (++this.#shown > BACKTRACES_PER_SECOND) return ", backtrace left out";
    let resolver = resolvers.get(this.#module);
    if (resolver === undefined) resolvers.set(this.#module, (resolver = new Resolver(this.#module)));
    const lines = backtrace(error, resolver);
    if (resolver.trouble !== "") lines.push(resolver.trouble);
    return lines.map((line) => `\n    ${line}`).join("");
  }
}

/** Lines `at name (place)`; whatever goes wrong here must not hide the failure itself. */
function backtrace(error: Error, resolver: Resolver): string[] {
  try {
    const sites = callSites(error);
    const frames = guestFrames(sites, (index) => resolver.isHostCode(index));
    const texts = resolver.describe(frames.filter((frame) => typeof frame !== "string"));
    let next = 0;
    const lines = frames.map((frame) => `at ${typeof frame === "string" ? `[host] ${frame}` : texts[next++]!}`);
    return folded(lines, sites.length >= Error.stackTraceLimit);
  } catch (cause) {
    return [`no backtrace: ${cause instanceof Error ? cause.message : String(cause)}`];
  }
}

/**
 * The frames of an error, each in V8's text form. One string per frame, since names in it are the guest's to choose:
 * in the text of the whole stack a line break in a name would begin a frame.
 */
function callSites(error: Error): string[] {
  const before = Error.prepareStackTrace;
  Error.prepareStackTrace = (_error, sites) => sites.map(String);
  try {
    // The stack is formatted when it is read for the first time.
    const stack: unknown = error.stack;
    if (Array.isArray(stack)) return stack as string[];
    return typeof stack === "string" ? stack.split("\n").slice(1) : [];
  } finally {
    Error.prepareStackTrace = before;
  }
}

/** The form that WebAssembly's specification of the Web API gives to locations. */
const GUEST_SITE = /(wasm:\/\/wasm\/[^\s()]*):wasm-function\[(\d+)\]:0x([0-9a-f]+)\)?$/;
const HOST_SITE = /^(?:\s*at )?(?:async )?(?:Object\.)?([\w.]+) \(/;
const INSTANCE_SITE = /\/wasm\/instance\/instance\.ts:\d+:\d+\)?$/;

/** Frames of the guest's code and names of host functions among them, innermost first, down to the callback. */
function guestFrames(sites: readonly string[], isHostCode: (index: number) => boolean): (GuestFrame | string)[] {
  const frames: (GuestFrame | string)[] = [];
  let script: string | undefined;
  for (const site of sites) {
    const guest = GUEST_SITE.exec(site);
    if (guest !== null) {
      script ??= guest[1];
      // Another guest, for which this one was called.
      if (guest[1] !== script) break;
      const frame = { index: Number(guest[2]), position: parseInt(guest[3]!, 16) };
      if (!isHostCode(frame.index)) frames.push(frame);
      continue;
    }
    // The host's call of a callback, once the guest has been seen.
    if (script !== undefined && INSTANCE_SITE.test(site)) break;
    const host = HOST_SITE.exec(site)?.[1];
    if (host !== undefined && hostNames.has(host)) frames.push(host);
  }
  return frames;
}

/** Recursion as one line, and no more lines than somebody reads. */
function folded(lines: readonly string[], more: boolean): string[] {
  const out: string[] = [];
  for (let n = 0; n < lines.length;) {
    let end = n + 1;
    while (lines[end] === lines[n]) end++;
    out.push(end - n > 1 ? `${lines[n]} × ${end - n}` : lines[n]!);
    n = end;
  }
  if (out.length <= MAX_BACKTRACE_LINES && !more) return out;
  return [...out.slice(0, MAX_BACKTRACE_LINES), "… and more"];
}
