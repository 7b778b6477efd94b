/**
 * Each attack under load: what the attacking stream gets, that nobody else suffers (with isolation `worker`, only who
 * shared the instance at that moment), that it is counted, and that memory comes back.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Isolation } from "../../runtime/config/snapshot.ts";
import { until } from "../integration/troupe.ts";
import { Arena, residentBytes } from "./arena.ts";
import { ATTACKS, QUEUE_ATTACKS, START_ATTACKS, TICK_ATTACKS } from "./attacks.ts";
import type { Attack } from "./attacks.ts";

/** Of each attack. `npm run hostile` does many more. */
const TIMES = 2;
/** Streams of well-behaved traffic that each chain serves while an attack goes on and after it. */
const STREAMS = 6;
/** Memory bombs in a row, of up to 64 MiB each. */
const BOMBS = 20;
const MAX_GROWTH_BYTES = 400 * 1024 * 1024;

/** Lets well-behaved traffic go on for a while; then what was lost. */
async function aftermath(arena: Arena): Promise<{ readonly shared: string[]; readonly beside: string[] }> {
  let shared = 0;
  let beside = 0;
  const seen: string[] = [];
  while (Math.min(shared, beside) < STREAMS) {
    const [one, two] = await arena.report();
    shared += one!.streams;
    beside += two!.streams;
    seen.push(...two!.failures);
    await sleep(5);
  }
  const losses = arena.losses();
  return { shared: losses.shared, beside: [...losses.beside, ...seen] };
}

/** What streams in the same instance may get, by their records. */
function mayLose(text: string, { reason, loss }: Attack): boolean {
  if (loss !== undefined && text === loss) return true;
  return (
    reason !== undefined && [`wasm_fail_stream{${reason}}`, "wasm_fail_stream{no_instance}"].includes(text.slice(4))
  );
}

async function play(arena: Arena, isolation: Isolation, attack: Attack): Promise<void> {
  for (let n = 0; n < TIMES; n++) {
    const failures = arena.value(`wasm.hostile.failures.${attack.reason}`);
    let outcome = await arena.attack(attack.name);
    // With one instance for all, an earlier attack may have used up the restarts of this second.
    while (outcome.details === "wasm_fail_stream{no_instance}" && isolation === "worker") {
      await sleep(50);
      outcome = await arena.attack(attack.name);
    }
    assert.deepEqual(outcome, attack.outcome);
    if (attack.reason !== undefined) {
      assert.equal(arena.value(`wasm.hostile.failures.${attack.reason}`), failures + 1);
    }
  }
  const losses = await aftermath(arena);
  assert.deepEqual(losses.beside, []);
  if (isolation !== "worker") assert.deepEqual(losses.shared, []);
  assert.deepEqual(
    losses.shared.filter((text) => !mayLose(text, attack)),
    [],
  );
  assert.ok(arena.value("wasm.hostile.instances") <= 16, `${arena.value("wasm.hostile.instances")} instances`);
}

for (const isolation of ["stream", "connection", "worker"] satisfies Isolation[]) {
  describe(`isolation ${isolation}`, () => {
    let arena: Arena;
    before(async () => {
      arena = await Arena.start({ isolation });
      await aftermath(arena);
    });
    after(() => arena.close());

    for (const attack of ATTACKS) test(attack.name, () => play(arena, isolation, attack));

    for (const [name, reason] of QUEUE_ATTACKS) {
      test(name, async () => {
        const outcome = await arena.attack(name);
        await until(() => arena.value("wasm.hostile.traps") > 0);
        const losses = await aftermath(arena);
        assert.deepEqual(losses.beside, []);
        // The notice comes to the plugin's own instance, which streams have a copy of, or share.
        if (isolation === "worker") {
          assert.ok([200, 503].includes(outcome.seen as number));
          assert.ok(losses.shared.every((text) => mayLose(text, { name, outcome, reason })));
        } else {
          assert.equal(outcome.seen, 200);
          assert.deepEqual(losses.shared, []);
        }
      });
    }

    test(`${BOMBS} memory bombs: the memory comes back`, async () => {
      await arena.attack("grow@request_headers");
      const beforeBytes = residentBytes();
      for (let n = 0; n < BOMBS; n++) {
        await arena.attack("grow@request_headers");
        await arena.attack("allocate@request_headers");
      }
      await aftermath(arena);
      const growth = residentBytes() - beforeBytes;
      assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes more`);
      assert.ok(arena.value("wasm.hostile.instances") <= 16);
    });
  });
}

describe("attacks of the plugin itself", () => {
  for (const [name, told] of START_ATTACKS) {
    test(`${name}: the plugin does not start, and the reason is told`, async () => {
      await assert.rejects(Arena.start({ isolation: "stream", configuration: name }), told);
    });
  }

  for (const isolation of ["stream", "connection", "worker"] satisfies Isolation[]) {
    for (const [name, reason] of TICK_ATTACKS) {
      test(`${name} every millisecond, isolation ${isolation}`, async (t) => {
        const arena = await Arena.start({ isolation, configuration: name });
        t.after(() => arena.close());
        if (reason !== undefined) await until(() => arena.value("wasm.hostile.traps") >= 3);
        const losses = await aftermath(arena);
        assert.deepEqual(losses.beside, []);
        if (isolation !== "worker") assert.deepEqual(losses.shared, []);
        const attack = {
          name,
          outcome: { seen: 200, details: "" },
          ...(reason === undefined ? {} : { reason }),
        } as const;
        assert.deepEqual(
          losses.shared.filter((text) => !mayLose(text, attack)),
          [],
        );
        if (reason !== undefined) assert.ok(arena.value("wasm.hostile.traps") >= 3);
      });
    }
  }
});
