/** Stands in for a module whose code is not there yet: nothing runs, and streams get the plugin's failure policy. */
import { AbiVersion } from "../../../abi/functions.ts";
import type { RemoteCode } from "../../config/snapshot.ts";
import { Phase } from "../../http/filter.ts";
import type { LoadedModule } from "./module.ts";

/** An empty module: the magic number and the version. */
const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

export function absentModule({ uri, sha256 }: RemoteCode): LoadedModule {
  return {
    absent: true,
    module: new WebAssembly.Module(EMPTY),
    sha256,
    abiVersion: AbiVersion.V0_2_1,
    warnings: [],
    exports: [],
    allocator: "malloc",
    hasStartSection: false,
    hardened: { globals: "", restorable: true, memoryPages: 0, offsets: new Uint32Array(new SharedArrayBuffer(0)) },
    symbols: {
      importedFunctions: 0,
      bodies: new Uint32Array(0),
      codeStart: 0,
      exports: [],
      names: undefined,
      sourceMap: undefined,
      lines: undefined,
      lineStrings: undefined,
    },
    manifest: undefined,
    storage: [],
    // The policy answers in whatever callback comes first.
    phases: Object.values(Phase).reduce((bits, bit) => bits | bit, 0),
    asksForRoutes: false,
    size: 0,
    name: uri,
  };
}
