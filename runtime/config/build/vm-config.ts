/** envoy.extensions.wasm.v3.VmConfig: where the code comes from, what runs it, what it sees of the environment. */
import { existsSync } from "node:fs";

import { MAX_MODULE_BYTES } from "../../limits.ts";
import type { Message } from "../document/message.ts";
import { didYouMean } from "../document/suggest.ts";
import type { PluginConfig } from "../snapshot.ts";
import type { BuildContext } from "./context.ts";
import { configuredPath, readDataSource } from "./data-source.ts";
import { buildRemoteCode } from "./remote-code.ts";

const RUNTIME = "envoy.wasm.runtime.";
/** Engines that Envoy can be built with. A module does not depend on the one that runs it, and here that is V8. */
const ENGINES = ["v8", "wamr", "wasmtime", "wavm"].map((name) => RUNTIME + name);

/** Reports a runtime that there is not. */
export function checkRuntime(context: BuildContext, vm: Message): void {
  const name = vm.text("runtime");
  if (name === "" || ENGINES.includes(name)) return;
  const why =
    name === `${RUNTIME}null`
      ? `${name} runs code that is part of Envoy's own program; build it as a module`
      : `there is no runtime "${name}"${didYouMean(name, ENGINES)}`;
  context.error(vm, "runtime", "runtime", why);
}

/** Where the code is; undefined, with a problem reported, when that is nowhere. */
export function moduleCode(context: BuildContext, vm: Message): PluginConfig["code"] | undefined {
  const code = vm.message("code");
  const local = code?.message("local");
  if (local === undefined) {
    const remote = code?.message("remote");
    if (remote !== undefined) return buildRemoteCode(context, vm, remote);
    if (code?.hasFailed("remote") !== true)
      context.error(vm, "code", "plugin", "vm_config.code needs local or remote, which say where the module is");
    return undefined;
  }
  if (local.which("specifier") === "filename") {
    const path = configuredPath(local, "filename");
    if (existsSync(path)) return { kind: "file", path };
    context.error(local, "filename", "module", `there is no file ${path}`);
    return undefined;
  }
  const bytes = readDataSource(context, local, MAX_MODULE_BYTES);
  return bytes === undefined ? undefined : { kind: "inline", bytes: new Uint8Array(bytes) };
}

/** What the guest's environment holds: variables of the host that are set, and values of the configuration. */
export function environment(context: BuildContext, message: Message | undefined): Readonly<Record<string, string>> {
  if (message === undefined) return {};
  const result = new Map<string, string>();
  const inherited = message.texts("host_env_keys");
  for (const key of inherited) {
    const value = process.env[key];
    if (value !== undefined) result.set(key, value);
  }
  for (const [key, value] of message.map("key_values")) {
    if (typeof value !== "string") continue;
    const complain = (text: string): void => context.error(message, "key_values", "environment", text);
    if (inherited.includes(key)) complain(`${key} stands in host_env_keys too; keep one`);
    if (key === "" || /[=\0]/.test(key)) complain(`${JSON.stringify(key)} is not the name of a variable`);
    if (value.includes("\0")) complain(`the value of ${key} has a NUL, which ends it`);
    result.set(key, value);
  }
  return Object.fromEntries(result);
}
