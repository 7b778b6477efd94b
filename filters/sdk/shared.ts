/** Data and queues that all instances of a plugin's VM share, over all worker threads. */
import * as Status from "../../abi/status.ts";
import * as env from "./env.ts";
import {
  beginCall,
  bytesOf,
  bytesSize,
  expectBuffer,
  expectNothing,
  resultP,
  resultSizeP,
  scalarP,
  takeBuffer,
  utf8Of,
} from "./memory.ts";

/** A value with the number that `setSharedData` compares. */
export class SharedValue {
  readonly bytes: ArrayBuffer;
  readonly cas: u32;

  constructor(bytes: ArrayBuffer, cas: u32) {
    this.bytes = bytes;
    this.cas = cas;
  }
}

/** The value of a key; null when there is none. */
export function getSharedData<K>(key: K): SharedValue | null {
  beginCall();
  const address = utf8Of<K>(key);
  const size = bytesSize;
  store<usize>(resultP, 0);
  expectBuffer();
  if (env.proxy_get_shared_data(address, size, resultP, resultSizeP, scalarP) == Status.OK) {
    return new SharedValue(takeBuffer(), load<u32>(scalarP));
  }
  expectNothing();
  return null;
}

/** Stores a value; with `cas` not 0 only if nobody stored one since it was read. False when somebody did. */
export function setSharedData<K, V>(key: K, value: V, cas: u32 = 0): bool {
  beginCall();
  const keyAt = utf8Of<K>(key);
  const keySize = bytesSize;
  const valueAt = utf8Of<V>(value);
  return env.proxy_set_shared_data(keyAt, keySize, valueAt, bytesSize, cas) == Status.OK;
}

/** Opens or makes a queue; its `onQueueReady` calls come to this root context. 0: refused. */
export function registerQueue<N>(name: N): u32 {
  beginCall();
  const address = utf8Of<N>(name);
  return env.proxy_register_shared_queue(address, bytesSize, scalarP) == Status.OK ? load<u32>(scalarP) : 0;
}

/** The token of another VM's queue ("" is one's own VM); 0 when there is none. */
export function resolveQueue<V, N>(vmId: V, name: N): u32 {
  beginCall();
  const vmAt = utf8Of<V>(vmId);
  const vmSize = bytesSize;
  const nameAt = utf8Of<N>(name);
  const status = env.proxy_resolve_shared_queue(vmAt, vmSize, nameAt, bytesSize, scalarP);
  return status == Status.OK ? load<u32>(scalarP) : 0;
}

export function enqueue<V>(token: u32, value: V): bool {
  beginCall();
  const address = bytesOf<V>(value);
  return env.proxy_enqueue_shared_queue(token, address, bytesSize) == Status.OK;
}

/** The queue's first item, taken out; null when it is empty. */
export function dequeue(token: u32): ArrayBuffer | null {
  store<usize>(resultP, 0);
  expectBuffer();
  if (env.proxy_dequeue_shared_queue(token, resultP, resultSizeP) == Status.OK) return takeBuffer();
  expectNothing();
  return null;
}
