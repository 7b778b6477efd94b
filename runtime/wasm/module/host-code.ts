/** Bodies of the functions that the host adds to a module. */
import { ByteWriter } from "./byte-writer.ts";
import { GuestFlag, Restriction } from "./hardened.ts";

/** Indices of the globals that the host adds. */
export interface HostGlobals {
  readonly fuel: number;
  readonly budget: number;
  readonly used: number;
  readonly stack: number;
  readonly flags: number;
  readonly restricted: number;
}

const END = 0x0b;
const CALL = 0x10;
const LOCAL_GET = 0x20;
const GLOBAL_GET = 0x23;
const GLOBAL_SET = 0x24;
const I32_CONST = 0x41;
const I32_SUB = 0x6b;
const I32_AND = 0x71;
const I64_ADD = 0x7c;
const I64_EXTEND_I32_U = 0xad;

class Body {
  readonly out = new ByteWriter(64);

  constructor() {
    // No locals.
    this.out.byte(0);
  }

  indexed(code: number, index: number): this {
    this.out.byte(code);
    this.out.unsigned(index);
    return this;
  }

  plain(...codes: readonly number[]): this {
    this.out.list(codes);
    return this;
  }

  end(): ByteWriter {
    this.out.byte(END);
    return this.out;
  }
}

/** Fills the fuel up, calls `index` with the same parameters, and adds up what it used. */
export function callbackBody(globals: HostGlobals, params: number, index: number): ByteWriter {
  const body = new Body()
    .indexed(GLOBAL_GET, globals.budget)
    .indexed(GLOBAL_SET, globals.fuel)
    .indexed(GLOBAL_GET, globals.flags)
    .plain(I32_CONST, GuestFlag.UNRESTORABLE, I32_AND)
    .indexed(GLOBAL_SET, globals.flags);
  for (let n = 0; n < params; n++) body.indexed(LOCAL_GET, n);
  return body
    .indexed(CALL, index)
    .indexed(GLOBAL_GET, globals.used)
    .indexed(GLOBAL_GET, globals.budget)
    .indexed(GLOBAL_GET, globals.fuel)
    .plain(I32_SUB, I64_EXTEND_I32_U, I64_ADD)
    .indexed(GLOBAL_SET, globals.used)
    .end();
}

/** Calls an allocator while the guest may not do much else: a host function waits for it. */
export function allocatorBody(globals: HostGlobals, index: number): ByteWriter {
  return new Body()
    .plain(I32_CONST, Restriction.ACTIVE)
    .indexed(GLOBAL_SET, globals.restricted)
    .indexed(LOCAL_GET, 0)
    .indexed(CALL, index)
    .plain(I32_CONST, Restriction.NONE)
    .indexed(GLOBAL_SET, globals.restricted)
    .end();
}

/** Copies globals to others; answers the value of `result`, if one is named. */
export function copyBody(pairs: readonly (readonly [from: number, to: number])[], result?: number): ByteWriter {
  const body = new Body();
  for (const [from, to] of pairs) body.indexed(GLOBAL_GET, from).indexed(GLOBAL_SET, to);
  if (result !== undefined) body.indexed(GLOBAL_GET, result);
  return body.end();
}
