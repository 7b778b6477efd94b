/** The door at which a process that takes over asks for sockets, when there is nothing to give. */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { socketName } from "../../runtime/control/hand-over-protocol.ts";
import { SuccessorDoor } from "../../runtime/control/successor-door.ts";
import { ProxyError } from "../../runtime/errors.ts";
import { RecordingLog } from "../wasm/stage.ts";

test("sockets that cannot be lent are told, and the process goes on", async () => {
  const log = new RecordingLog();
  const lender = {
    ready: true,
    lend: () => Promise.reject(new ProxyError("SOCKET", "internal", "no descriptors are left")),
    handOver: () => Promise.resolve(),
    terminate: () => assert.fail("nobody asked for that"),
    orphaned: () => assert.fail("nobody has taken over"),
  };
  const door = new SuccessorDoor(lender, log);
  const place = { baseId: randomInt(1 << 30), epoch: 0, parentShutdownMs: 1, trialMs: 0 };
  await door.open(place);
  for (let n = 0; n < 2; n++) {
    const socket = connect(socketName(place.baseId, 0));
    socket.write("take\n");
    await once(socket.resume(), "close");
  }
  door.close();
  assert.equal(log.lines.filter((line) => line.includes("no descriptors are left")).length, 2);
});
