import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodePairs, encodePairs, pairsSize } from "../../runtime/wasm/values/pairs.ts";
import { fc } from "../properties.ts";

const latin1 = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const lists = fc.array(fc.tuple(latin1, latin1), { maxLength: 30 }).map((pairs) => pairs.flat());

describe("pairs", () => {
  test("known vectors", () => {
    assert.equal(
      encodePairs(["a", "1", "b", "22"]).toString("hex"),
      "0200000001000000010000000100000002000000610031006200323200",
    );
    assert.equal(encodePairs(["x", ""]).toString("hex"), "010000000100000000000000780000");
    assert.equal(
      encodePairs(["a", "", "b", ""]).toString("hex"),
      "0200000001000000000000000100000000000000610000620000",
    );
    const four = [":method", "GET", ":path", "/bytes/1", ":authority", "httpbin.org", "Powered-By", "proxy-wasm"];
    assert.equal(encodePairs(four).length, 108);
    assert.equal(encodePairs([]).length, 0);
  });

  test("what goes in comes out, anywhere in a buffer", () => {
    fc.assert(
      fc.property(lists, fc.nat(16), fc.nat(16), (list, before, after) => {
        const bytes = encodePairs(list);
        assert.equal(bytes.length, pairsSize(list));
        const padded = Buffer.concat([Buffer.alloc(before, 0xff), bytes, Buffer.alloc(after, 0xff)]);
        assert.deepEqual(decodePairs(padded, before, bytes.length), list);
      }),
    );
  });

  test("any bytes give a list or nothing, never an exception", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const list = decodePairs(Buffer.from(bytes), 0, bytes.length);
        assert.ok(list === undefined || list.length % 2 === 0);
      }),
    );
  });

  test("a damaged encoding is never read as something longer than it is", () => {
    fc.assert(
      fc.property(lists, fc.nat(), fc.integer({ min: 1, max: 255 }), (list, where, mask) => {
        const bytes = encodePairs(list);
        if (bytes.length === 0) return;
        bytes[where % bytes.length]! ^= mask;
        const read = decodePairs(bytes, 0, bytes.length);
        if (read !== undefined) assert.ok(pairsSize(read) <= bytes.length);
      }),
    );
  });

  test("the legal empties, and every cut of a good one", () => {
    for (const empty of ["", "00", "00000000"])
      assert.deepEqual(decodePairs(Buffer.from(empty, "hex"), 0, empty.length / 2), []);
    const good = encodePairs(["a", "1", "b", "22"]);
    for (let size = 1; size < good.length; size++) assert.equal(decodePairs(good, 0, size), undefined, `${size} bytes`);
  });

  test("limits", () => {
    const many = (n: number): string[] => Array.from({ length: n * 2 }, () => "");
    const most = encodePairs(many(1024));
    assert.equal(decodePairs(most, 0, most.length)?.length, 2048);
    const tooMany = encodePairs(many(1025));
    assert.equal(decodePairs(tooMany, 0, tooMany.length), undefined);
    const tooLong = encodePairs(["a", "x".repeat(1024 * 1024)]);
    assert.equal(decodePairs(tooLong, 0, tooLong.length), undefined);
  });
});
