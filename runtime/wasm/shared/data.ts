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

/** Data of its own over that of others, which is read and never changed. */
export class OverlaidData extends SharedData {
  readonly #under: SharedData;
  /** Keys of the data below that were deleted here. */
  readonly #deleted = new Set<string>();

  constructor(map: SharedMap, under: SharedData) {
    super(map);
    this.#under = under;
  }

  override get(vmId: string, key: Uint8Array): MapRecord | undefined {
    return super.get(vmId, key) ?? this.#below(vmId, key);
  }

  override set(vmId: string, key: Uint8Array, value: Uint8Array, cas: number): number {
    const below = super.get(vmId, key) === undefined ? this.#below(vmId, key) : undefined;
    if (below === undefined) return super.set(vmId, key, value, cas);
    return cas === 0 || cas === below.cas ? super.set(vmId, key, value, 0) : Status.CAS_MISMATCH;
  }

  override delete(vmId: string, key: Uint8Array, cas: number): number {
    const below = this.#below(vmId, key);
    const status = super.delete(vmId, key, cas);
    if (below === undefined || status === Status.CAS_MISMATCH) return status;
    if (status === Status.NOT_FOUND && cas !== 0 && cas !== below.cas) return Status.CAS_MISMATCH;
    this.#deleted.add(nameOf(vmId, key));
    return Status.OK;
  }

  #below(vmId: string, key: Uint8Array): MapRecord | undefined {
    return this.#deleted.has(nameOf(vmId, key)) ? undefined : this.#under.get(vmId, key);
  }
}

function nameOf(vmId: string, key: Uint8Array): string {
  return vmKey(KeyKind.DATA, vmId, key).toString("latin1");
}
