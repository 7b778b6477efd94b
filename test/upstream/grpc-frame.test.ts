/** Messages of gRPC streams, cut out of pieces of any size. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as GrpcStatus from "../../abi/grpc-status.ts";
import { frame, MessageReader, MessageSplitter } from "../../runtime/upstream/grpc-frame.ts";
import { fc } from "../properties.ts";

function all(splitter: MessageSplitter): Buffer[] {
  const found: Buffer[] = [];
  for (let next = splitter.next(); next !== null; next = splitter.next()) {
    assert.ok(Buffer.isBuffer(next));
    found.push(next);
  }
  return found;
}

test("messages come out whole and in order, however they are cut", () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 12 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(40), { maxLength: 60 }), (sent, cuts) => {
      const splitter = new MessageSplitter(1000);
      const found: Buffer[] = [];
      let rest = Buffer.concat(sent.map((one) => frame(one)));
      for (const cut of [...cuts, rest.length]) {
        splitter.add(Buffer.from(rest.subarray(0, cut)));
        rest = rest.subarray(cut);
        found.push(...all(splitter));
      }
      assert.ok(splitter.clean);
      // Those that came first are what they were, whatever came later.
      assert.deepEqual(
        found.map((one) => [...one]),
        sent.map((one) => [...one]),
      );
    }),
  );
});

test("a long message in tiny pieces takes no more than its length", () => {
  const size = 4 * 1024 * 1024;
  const message = Buffer.alloc(size, "x");
  const splitter = new MessageSplitter(size);
  const reader = new MessageReader(size);
  const framed = frame(message);
  for (let at = 0; at < framed.length; at += 16) {
    splitter.add(framed.subarray(at, at + 16));
    assert.equal(reader.push(framed.subarray(at, at + 16)), null);
    if (at + 16 < framed.length) assert.equal(splitter.next(), null);
  }
  assert.ok(message.equals(all(splitter)[0]!));
  assert.ok(message.equals(reader.message!));
});

test("a flag of compression and a length over the limit are told as soon as they are seen", () => {
  const compressed = new MessageSplitter(10);
  compressed.add(Buffer.of(1));
  assert.deepEqual(compressed.next(), { status: GrpcStatus.INTERNAL, text: "compressed response message" });
  const long = new MessageSplitter(10);
  long.add(Buffer.of(0, 0, 0, 0, 11));
  const fault = long.next();
  assert.ok(fault !== null && !Buffer.isBuffer(fault));
  assert.equal(fault.status, GrpcStatus.RESOURCE_EXHAUSTED);
});

test("a second message of a unary call is a fault, in the same piece or a later one", () => {
  const together = new MessageReader(10);
  assert.equal(together.push(Buffer.concat([frame(Buffer.from("a")), frame(Buffer.from("b"))]))?.status, 13);
  const later = new MessageReader(10);
  assert.equal(later.push(frame(Buffer.from("a"))), null);
  assert.equal(later.push(Buffer.of(0))?.status, 13);
});
