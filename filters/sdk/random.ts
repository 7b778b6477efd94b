/** Random bits from the host, in every host. */
import { random_get } from "./wasi_snapshot_preview1.ts";
import { scalarP } from "./memory.ts";

export function random(): u32 {
  random_get(scalarP, 4);
  return load<u32>(scalarP);
}
