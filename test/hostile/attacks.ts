/**
 * Every attack of the hostile guest (test/guests/c/hostile.c) by name, `WHAT@WHERE`, and what the stream that attacks
 * gets: what downstream sees, and the details of its record.
 */
import type { FailureReason } from "../../runtime/wasm/instance/failure.ts";
import type { Outcome } from "./arena.ts";

export interface Attack {
  readonly name: string;
  readonly outcome: Outcome;
  /** The instance fails for this reason; undefined when the host goes on as if nothing had happened. */
  readonly reason?: FailureReason;
  /** A loss that others in the same instance may have besides. */
  readonly loss?: string;
}

const SERVED: Outcome = { seen: 200, details: "via_upstream" };

/** Where a stream can attack, and what downstream sees when its instance fails there. */
const PLACES: Readonly<Record<string, Outcome["seen"]>> = {
  create: 503,
  request_headers: 503,
  request_body: 503,
  request_trailers: 503,
  http_call: 503,
  grpc_close: 503,
  response_headers: 503,
  response_body: "cut",
  response_trailers: "cut",
  log: 200,
  done: 200,
  delete: 200,
};

function failing(what: string, reason: FailureReason, place = "request_headers"): Attack {
  const seen = PLACES[place]!;
  const details = seen === 200 ? SERVED.details : `wasm_fail_stream{${reason}}`;
  return { name: `${what}@${place}`, outcome: { seen, details }, reason };
}
function harmless(what: string, place = "request_headers", outcome = SERVED): Attack {
  return { name: `${what}@${place}`, outcome };
}

export const ATTACKS: readonly Attack[] = [
  // An endless loop and a trap in each callback of a stream.
  ...Object.keys(PLACES).flatMap((place) => [failing("spin", "out_of_fuel", place), failing("trap", "trap", place)]),
  failing("spin-calling", "out_of_fuel"),
  failing("divide", "trap"),
  failing("wild", "bad_pointer"),
  // Recursion with room on a stack in memory runs out of that memory first.
  failing("recurse", "bad_pointer"),
  failing("mutual", "stack_overflow"),
  failing("table", "stack_overflow"),
  // Memory: taken to the end and left at that; asked for without end; asked for until there is none.
  harmless("grow"),
  failing("grow-endless", "out_of_fuel"),
  failing("allocate", "out_of_memory"),
  // Allocators.
  ...["zero", "outside", "edge", "same", "grows", "result"].map((lie) => harmless(`lie-${lie}`)),
  failing("lie-traps", "trap"),
  failing("lie-spins", "out_of_fuel"),
  failing("lie-recurses", "bad_pointer"),
  // Host functions that act, called from inside of the allocator.
  failing("lie-calls", "restricted"),
  // Pointers at the edge of memory and outside, huge lengths, sums beyond 4 GiB: for every host function.
  harmless("pointers"),
  harmless("wrap"),
  // Order and ownership.
  harmless("replies", "request_headers", { seen: 418, details: "first" }),
  harmless("close", "request_headers", { seen: "none", details: "wasm_close_stream" }),
  { ...harmless("hop", "request_headers", { seen: 599, details: "hop" }), loss: "599 hop" },
  ...["request_headers", "log", "done", "delete"].map((place) => harmless("endings", place)),
  // Storms: a hundred thousand of each.
  ...[
    "http-storm",
    "grpc-storm",
    "grpc-stream-storm",
    "log-storm",
    "print-storm",
    "metric-storm",
    "queue-storm",
    "shared-data-storm",
    "property-storm",
    "tick-storm",
    "compress-storm",
    "uncompress-bomb",
    "expression-storm",
    "signature-storm",
  ].map((storm) => failing(storm, "out_of_fuel")),
  failing("header-storm", "out_of_fuel", "response_headers"),
  failing("body-storm", "out_of_fuel", "response_body"),
  failing("edit-storm", "out_of_fuel", "response_body"),
];

/** Attacks of the plugin's own callbacks, on every tick, and why the instance fails. */
export const TICK_ATTACKS: readonly (readonly [name: string, reason: FailureReason | undefined])[] = [
  ["spin@tick", "out_of_fuel"],
  ["trap@tick", "trap"],
  ["grow@tick", undefined],
  ["endings@tick", undefined],
];

/** The same for notices of a queue, which a stream causes. */
export const QUEUE_ATTACKS: readonly (readonly [name: string, reason: FailureReason])[] = [
  ["spin@queue", "out_of_fuel"],
  ["trap@queue", "trap"],
];

/** Attacks of the start of the plugin, and what is told then. */
export const START_ATTACKS: readonly (readonly [name: string, told: RegExp])[] = ["vm_start", "configure"].flatMap(
  (place) =>
    (
      [
        ["spin", /out of fuel/],
        ["trap", /trap: unreachable/],
        ["mutual", /stack overflow/],
        ["allocate", /out of memory/],
        ["wild", /bad pointer/],
      ] as const
    ).map(([what, told]) => [`${what}@${place}`, told] as const),
);
