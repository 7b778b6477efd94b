/** Keys of the shared map: one byte for the kind of entry, then what identifies it. */

/** Kinds of entries. */
export const KeyKind = { DATA: 1, METRIC: 2, BUCKET: 3, QUEUE: 4, QUEUE_STATE: 5, QUEUE_ITEM: 6 } as const;

/** A key of some VM's own: kind, length of the vm_id, vm_id, key. */
export function vmKey(kind: number, vmId: string, key: Uint8Array): Buffer {
  const owner = Buffer.from(vmId);
  const head = Buffer.allocUnsafe(5);
  head[0] = kind;
  head.writeUInt32LE(owner.length, 1);
  return Buffer.concat([head, owner, key]);
}

/** A key of the whole process. */
export function processKey(kind: number, key: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(1 + key.length);
  bytes[0] = kind;
  bytes.set(key, 1);
  return bytes;
}

/** A key made of numbers. */
export function numberKey(kind: number, a: number, b = 0): Buffer {
  const bytes = Buffer.allocUnsafe(9);
  bytes[0] = kind;
  bytes.writeUInt32LE(a >>> 0, 1);
  bytes.writeUInt32LE(b >>> 0, 5);
  return bytes;
}
