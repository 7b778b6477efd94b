import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { getHeapSpaceStatistics } from "node:v8";
import { MemoryRest } from "../../runtime/control/memory-rest.ts";
import { MEMORY_REST_MS } from "../../runtime/limits.ts";
import { RecordingLog } from "../wasm/stage.ts";

function roomForNew(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === "new_space")!.physical_space_size;
}

/** Makes V8 want more room for new objects: much of what it finds there is still in use. */
function makeWaste(): number {
  let kept: unknown[] = [];
  for (let n = 0; n < 2_000_000; n++) {
    kept.push({ n, list: [n] });
    if (kept.length > 200_000) kept = [];
  }
  return roomForNew();
}

test("memory is given back when nothing has changed for a while, once", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const log = new RecordingLog();
    const rest = new MemoryRest(log);
    const wasted = makeWaste();
    rest.later();
    mock.timers.tick(MEMORY_REST_MS - 1);
    rest.later();
    mock.timers.tick(MEMORY_REST_MS - 1);
    assert.deepEqual(log.lines, []);
    mock.timers.tick(1);
    assert.match(log.lines.join("\n"), /^debug -?\d+ MiB were given back to the system in \d+ ms$/);
    assert.ok(roomForNew() < wasted / 2, `${roomForNew()} of ${wasted} bytes`);
    mock.timers.tick(10 * MEMORY_REST_MS);
    assert.equal(log.lines.length, 1);
    rest.later();
    rest.stop();
    mock.timers.tick(10 * MEMORY_REST_MS);
    assert.equal(log.lines.length, 1);
  } finally {
    mock.timers.reset();
  }
});
