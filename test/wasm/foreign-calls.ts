/** Calls foreign functions from a real guest, in one request callback. */
import * as Status from "../../abi/status.ts";
import { Puppet } from "./puppet.ts";
import { Stage } from "./stage.ts";
import type { FakeStream, StageOptions } from "./stage.ts";

export interface Answer {
  readonly statuses: readonly number[];
  readonly results: readonly Buffer[];
  readonly stage: Stage;
  readonly stream: FakeStream;
}

export type ForeignCall = readonly [name: string, argument: Uint8Array | string];

/** Calls each function in turn from one request callback. */
export function called(...calls: readonly ForeignCall[]): Answer {
  return calledOn({}, () => {}, ...calls);
}

/** The same on a stage of its own kind, with a stream that `prepare` has changed. */
export function calledOn(
  options: StageOptions,
  prepare: (stream: FakeStream) => void,
  ...calls: readonly ForeignCall[]
): Answer {
  const puppet = new Puppet();
  const cells = calls.map(() => [puppet.cell(), puppet.cell()] as const);
  const records = calls.map(([name, argument], n) =>
    puppet.call("proxy_call_foreign_function", ...puppet.text(name), ...puppet.text(argument), ...cells[n]!),
  );
  puppet.on("proxy_on_request_headers", 0, ...records);
  const stage = Stage.started(puppet, options);
  const stream = stage.stream();
  prepare(stream);
  stream.requestHead();
  const statuses = records.map((record) => stage.status(record));
  const results = cells.map(([pp, sp], n) => (statuses[n] === Status.OK ? stage.given(pp, sp) : Buffer.alloc(0)));
  return { statuses, results, stage, stream };
}
