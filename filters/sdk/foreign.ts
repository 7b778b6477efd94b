/** Functions that a host offers by name. */
import * as Status from "../../abi/status.ts";
import { proxy_call_foreign_function } from "./env.ts";
import {
  beginCall,
  bytesSize,
  expectBuffer,
  expectNothing,
  resultP,
  resultSizeP,
  takeBuffer,
  utf8Of,
} from "./memory.ts";

/** The function's result (perhaps empty); null when the host does not know it or it failed. */
export function callForeignFunction<N, A>(name: N, args: A): ArrayBuffer | null {
  beginCall();
  const nameAt = utf8Of<N>(name);
  const nameSize = bytesSize;
  const argsAt = utf8Of<A>(args);
  store<usize>(resultP, 0);
  expectBuffer();
  const status = proxy_call_foreign_function(nameAt, nameSize, argsAt, bytesSize, resultP, resultSizeP);
  if (status == Status.OK) return takeBuffer();
  expectNothing();
  return null;
}
