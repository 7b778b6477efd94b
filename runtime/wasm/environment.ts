/** What the host gives to all plugins of one worker. */
import type { NodeConfig, RuntimeValue } from "../config/snapshot.ts";
import type { Log } from "../observe/log.ts";
import type { Stats } from "../observe/stats.ts";
import type { Upstreams } from "../upstream/request.ts";
import type { LoadedModule } from "./module/module.ts";
import type { SharedStore } from "./shared.ts";

export interface WasmEnvironment {
  readonly upstreams: Upstreams;
  readonly stats: Stats;
  /** The component `wasm`. */
  readonly log: Log;
  readonly shared: SharedStore;
  readonly node: NodeConfig;
  /** Static runtime layers, flattened. */
  readonly runtime: Readonly<Record<string, RuntimeValue>>;
  readonly workerIndex: number;
  /** Told of each instance once it exists, before anything of it runs. */
  readonly onInstance?: (module: LoadedModule, exports: WebAssembly.Exports) => void;
}
