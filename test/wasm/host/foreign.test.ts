/** Foreign functions through a real guest. */
import assert from "node:assert/strict";
import { createVerify, generateKeyPairSync, sign as signWith } from "node:crypto";
import { describe, test } from "node:test";
import { deflateSync, inflateSync } from "node:zlib";
import * as Status from "../../../abi/status.ts";
import { MAX_UNCOMPRESSED_BYTES, SIGNATURE_FUEL } from "../../../runtime/limits.ts";
import { protoFields } from "../../../runtime/wasm/values/proto-fields.ts";
import { called } from "../foreign-calls.ts";
import { Puppet } from "../puppet.ts";
import { Stage } from "../stage.ts";

/** A message of length-delimited fields and varints. */
function message(fields: Readonly<Record<number, string | Uint8Array | number>>): Buffer {
  return Buffer.concat(
    Object.entries(fields).map(([number, value]) => {
      if (typeof value === "number") return Buffer.of(Number(number) << 3, value);
      const bytes = Buffer.from(value);
      const size = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
      return Buffer.concat([Buffer.of((Number(number) << 3) | 2, ...size), bytes]);
    }),
  );
}

describe("foreign functions", () => {
  test("compress and uncompress are zlib's format, both ways", () => {
    const text = "abc".repeat(2000);
    const { statuses, results } = called(["compress", text], ["uncompress", deflateSync(text)]);
    assert.deepEqual(statuses, [0, 0]);
    assert.equal(inflateSync(results[0]!).toString(), text);
    assert.equal(results[1]!.toString(), text);
  });

  test("uncompress: damaged bytes and a bomb are SERIALIZATION_FAILURE, and the reason is told", () => {
    const bomb = deflateSync(Buffer.alloc(MAX_UNCOMPRESSED_BYTES + 1));
    const { statuses, stage } = called(["uncompress", "nonsense"], ["uncompress", bomb]);
    assert.deepEqual(statuses, [Status.SERIALIZATION_FAILURE, Status.SERIALIZATION_FAILURE]);
    assert.ok(stage.log.lines.some((line) => /argument: not zlib/.test(line)));
    assert.ok(stage.log.lines.some((line) => /argument: more than 4194304 bytes/.test(line)));
  });

  test("uncompress: what fails costs as much as what it was tried on", () => {
    const bomb = deflateSync(Buffer.alloc(MAX_UNCOMPRESSED_BYTES + 1));
    const { stage } = called(["uncompress", bomb], ["uncompress", bomb]);
    assert.equal(stage.instance.failureReason, "out_of_fuel");
    const late = Buffer.concat([deflateSync(Buffer.alloc(MAX_UNCOMPRESSED_BYTES)).subarray(0, -4), Buffer.alloc(4)]);
    const damaged = called(["uncompress", late], ["uncompress", late]);
    assert.equal(damaged.stage.instance.failureReason, "out_of_fuel");
  });

  test("sign: larger keys cost more, by what they take", () => {
    const used = (bits: number): number => {
      const { privateKey } = generateKeyPairSync("rsa", { modulusLength: bits });
      const der = privateKey.export({ type: "pkcs8", format: "der" });
      const argument = Buffer.concat([
        message({ 1: "sha256", 3: "text" }),
        Buffer.of(0x12, (der.length & 0x7f) | 0x80, der.length >> 7),
        der,
      ]);
      const { statuses, stage } = called(["sign", argument]);
      assert.deepEqual(statuses, [0]);
      return Number(stage.instance.fuelUsed);
    };
    assert.ok(used(3072) - used(2048) > 2 * SIGNATURE_FUEL);
  });

  test("a message of a million fields is not kept", () => {
    const fields = Buffer.alloc(3_000_000, Buffer.of(0x80, 0x01, 0));
    for (let at = 0, number = 16; at < fields.length; at += 3, number = 16 + ((number + 1) % 2000))
      fields.set([((number << 3) & 0x7f) | 0x80, number >> 4, 0], at);
    assert.equal(protoFields(fields)?.size, 0);
  });

  test("an unknown name is NOT_FOUND", () => {
    assert.deepEqual(called(["no_such_function", ""]).statuses, [Status.NOT_FOUND]);
  });

  test("clear_route_cache acts on the stream and has an empty result", () => {
    const { statuses, results, stream } = called(["clear_route_cache", ""]);
    assert.deepEqual([statuses[0], results[0]!.length, stream.routeClears], [0, 0, 1]);
  });

  test("set_envoy_filter_state writes without prefix; a bad span or message is BAD_ARGUMENT", () => {
    const { statuses, stream } = called(
      ["set_envoy_filter_state", message({ 1: "envoy.tcp_proxy.cluster", 2: "blue", 3: 1 })],
      ["set_envoy_filter_state", message({ 1: "x", 2: "y", 3: 9 })],
      ["set_envoy_filter_state", Buffer.from([0xff, 0xff])],
    );
    assert.deepEqual(statuses, [0, Status.BAD_ARGUMENT, Status.BAD_ARGUMENT]);
    assert.equal(Buffer.from(stream.info.filterState!.get("envoy.tcp_proxy.cluster")!).toString(), "blue");
  });

  test("declare_property: twice is BAD_ARGUMENT; a readonly property can be set once", () => {
    const puppet = new Puppet();
    const declaration = message({ 1: "once", 2: 1, 3: 1 });
    const declare = puppet.call(
      "proxy_call_foreign_function",
      ...puppet.text("declare_property"),
      ...puppet.text(declaration),
      0,
      0,
    );
    const again = puppet.call(
      "proxy_call_foreign_function",
      ...puppet.text("declare_property"),
      ...puppet.text(declaration),
      0,
      0,
    );
    const sets = ["a", "b"].map((value) =>
      puppet.call("proxy_set_property", ...puppet.text("once"), ...puppet.text(value)),
    );
    puppet.on("proxy_on_vm_start", 1, declare, again).on("proxy_on_request_headers", 0, ...sets);
    const stage = Stage.started(puppet);
    stage.stream().requestHead();
    assert.deepEqual([stage.status(declare), stage.status(again)], [0, Status.BAD_ARGUMENT]);
    assert.deepEqual(
      sets.map((call) => stage.status(call)),
      [0, Status.BAD_ARGUMENT],
    );
  });

  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const text = "signed text";

  test("verify_signature takes DER and PEM, tells right from wrong, and wants exactly one key", () => {
    const der = publicKey.export({ format: "der", type: "spki" });
    const pem = publicKey.export({ format: "pem", type: "spki" });
    const signature = signWith("sha256", Buffer.from(text), privateKey);
    const { statuses, results } = called(
      ["verify_signature", message({ 1: "sha256", 2: der, 3: signature, 4: text })],
      ["verify_signature", message({ 1: "SHA256", 5: pem, 3: signature, 4: text })],
      ["verify_signature", message({ 1: "sha256", 2: der, 3: signature, 4: "another text" })],
      ["verify_signature", message({ 1: "md4", 2: der, 3: signature, 4: text })],
      ["verify_signature", message({ 1: "sha256", 2: "no key", 3: signature, 4: text })],
      ["verify_signature", message({ 1: "sha256", 3: signature, 4: text })],
      ["verify_signature", message({ 1: "sha256", 2: der, 5: pem, 3: signature, 4: text })],
    );
    assert.deepEqual(statuses, [0, 0, 0, 0, 0, Status.BAD_ARGUMENT, Status.BAD_ARGUMENT]);
    assert.deepEqual(
      results.slice(0, 2).map((one) => one.toString("hex")),
      ["0801", "0801"],
    );
    assert.match(results[2]!.toString(), /Failed to verify/);
    assert.match(results[3]!.toString(), /md4 is not supported/);
    assert.ok(results[4]!.length > 2 && results[4]![0] === 0x12);
  });

  test("sign makes what others verify", () => {
    const pem = privateKey.export({ format: "pem", type: "pkcs8" });
    const { statuses, results } = called(["sign", message({ 1: "sha256", 3: text, 4: pem })]);
    assert.deepEqual(statuses, [0]);
    assert.equal(results[0]!.subarray(0, 3).toString("hex"), "080112");
    const verify = createVerify("sha256").update(text);
    assert.ok(verify.verify(publicKey, results[0]!.subarray(4)));
  });
});
