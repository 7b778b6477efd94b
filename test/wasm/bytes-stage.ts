/** A stage for any module: one plugin in a worker's environment, without a puppet's script. */
import type { PluginConfig } from "../../runtime/config/snapshot.ts";
import type { Instance } from "../../runtime/wasm/instance/instance.ts";
import { loadModule } from "../../runtime/wasm/module/module.ts";
import { Plugin } from "../../runtime/wasm/plugin.ts";
import { PluginFilterFactory } from "../../runtime/wasm/plugin-factory.ts";
import { Vm } from "../../runtime/wasm/vm.ts";
import { environmentFor, FakeStream, pluginConfig, RecordingLog, RecordingStats } from "./stage.ts";
import type { FakeStreamOptions, StageOptions } from "./stage.ts";
import type { HardenOptions } from "../../runtime/wasm/module/hardened.ts";

export interface BytesStageOptions extends StageOptions {
  readonly fuel?: HardenOptions["fuel"];
}

export class BytesStage {
  readonly log = new RecordingLog();
  readonly stats = new RecordingStats();
  readonly vm: Vm;
  readonly plugin: Plugin;
  readonly factory: PluginFilterFactory;

  private constructor(bytes: Uint8Array, config: PluginConfig, options: BytesStageOptions) {
    const module = loadModule(bytes, "stage.wasm", {
      memoryPages: config.memoryBytes / 65_536,
      ...(options.fuel === undefined ? {} : { fuel: options.fuel }),
    });
    this.vm = new Vm(config, module, environmentFor(options, this.log, this.stats));
    this.plugin = new Plugin(config, this.vm, this.stats);
    this.vm.plugins.push(this.plugin);
    this.factory = new PluginFilterFactory(this.plugin, module.phases);
  }

  /** Loads and starts. Throws what the loader or the start throws. */
  static started(bytes: Uint8Array, config: Partial<PluginConfig> = {}, options: BytesStageOptions = {}): BytesStage {
    const stage = new BytesStage(bytes, pluginConfig(config), options);
    stage.vm.start();
    return stage;
  }

  get instance(): Instance {
    return this.plugin.root!.instance;
  }

  stream(options: FakeStreamOptions = {}): FakeStream {
    return new FakeStream(this.factory, options);
  }
}
