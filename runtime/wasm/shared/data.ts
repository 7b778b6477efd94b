/** Key-value data of guests, by vm_id. Answers are statuses of abi/status.ts. */
import * as Status from "../../../abi/status.ts";
import { KeyKind, vmKey } from "./keys.ts";
import type { MapRecord, SharedMap } from "./map.ts";

export class SharedData {
  readonly #map: SharedMap;

  constructor(map: SharedMap) {
    this.#map = map;
  }

  get(vmId: string, key: Uint8Array): MapRecord | undefined {
    const full = vmKey(KeyKind.DATA, vmId, key);
    this.#map.lock.acquire();
    try {
      return this.#map.get(full);
    } finally {
      this.#map.lock.release();
    }
  }

  /** `cas` 0 stores always; another one only if it is the stored one (or nothing is stored). */
  set(vmId: string, key: Uint8Array, value: Uint8Array, cas: number): number {
    const full = vmKey(KeyKind.DATA, vmId, key);
    this.#map.lock.acquire();
    try {
      if (cas !== 0) {
        const stored = this.#map.get(full);
        if (stored !== undefined && stored.cas !== cas) return Status.CAS_MISMATCH;
      }
      return this.#map.put(full, value) ? Status.OK : Status.INTERNAL_FAILURE;
    } finally {
      this.#map.lock.release();
    }
  }

  delete(vmId: string, key: Uint8Array, cas: number): number {
    const full = vmKey(KeyKind.DATA, vmId, key);
    this.#map.lock.acquire();
    try {
      const stored = this.#map.get(full);
      if (stored === undefined) return Status.NOT_FOUND;
      if (cas !== 0 && stored.cas !== cas) return Status.CAS_MISMATCH;
      this.#map.remove(full);
      return Status.OK;
    } finally {
      this.#map.lock.release();
    }
  }
}
