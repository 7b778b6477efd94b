/** Hellos whole, cut at every byte, in records of every size, bent, and of real clients. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { connect } from "node:tls";
import { ClientHelloReader, HelloState } from "../../runtime/listener/client-hello.ts";
import type { ClientHello } from "../../runtime/listener/client-hello.ts";
import { ja3, ja4 } from "../../runtime/listener/tls-fingerprints.ts";
import { fc } from "../properties.ts";
import { helloMessage, number, numbers, protocols, records, serverName, vector } from "./hellos.ts";

const MAX = 16_384;
const MESSAGE = helloMessage({
  extensions: [[0x0a0a, Buffer.alloc(0)], serverName("A.Test"), protocols("h2", "http/1.1")],
});

function readAll(bytes: Buffer): [HelloState, ClientHello | null] {
  const reader = new ClientHelloReader(MAX);
  return [reader.read(bytes), reader.hello];
}

test("name and protocols, whole and byte by byte, in records of every size", () => {
  for (const size of [1, 2, 3, 4, 5, 50, 100, MAX]) {
    const bytes = records(MESSAGE, size);
    const reader = new ClientHelloReader(MAX);
    for (let end = 0; end < bytes.length; end++)
      assert.equal(reader.read(bytes.subarray(0, end)), HelloState.MORE, `${size}: ${end} bytes`);
    assert.equal(reader.read(bytes), HelloState.FOUND);
    assert.deepEqual([reader.hello!.serverName, reader.hello!.protocols], ["a.test", ["h2", "http/1.1"]]);
    const [state, hello] = readAll(Buffer.concat([bytes, Buffer.from("more")]));
    assert.equal(state, HelloState.FOUND);
    assert.deepEqual(hello, reader.hello);
  }
});

test("what is no hello", () => {
  const bare = Buffer.concat([
    number(0x0301, 2),
    Buffer.alloc(32),
    vector(1),
    vector(2, numbers([5], 2)),
    vector(1, Buffer.of(0)),
  ]);
  const cases: readonly (readonly [string, Buffer, HelloState])[] = [
    ["nothing yet", Buffer.alloc(0), HelloState.MORE],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n"), HelloState.NOT_TLS],
    ["SSL 2", Buffer.of(0x80, 0x2e, 1, 3, 1), HelloState.NOT_TLS],
    ["the first byte alone", Buffer.of(22), HelloState.MORE],
    ["another major version", Buffer.of(22, 2), HelloState.NOT_TLS],
    ["an empty record", Buffer.of(22, 3, 1, 0, 0), HelloState.BROKEN],
    ["a record that is too large", Buffer.of(22, 3, 1, 0x40, 1), HelloState.BROKEN],
    ["another message", Buffer.of(22, 3, 1, 0, 1, 2), HelloState.BROKEN],
    [
      "data after half a hello",
      Buffer.concat([records(MESSAGE.subarray(0, 50)), Buffer.of(23, 3, 3)]),
      HelloState.BROKEN,
    ],
    [
      "a hello that says it has 100 KiB",
      Buffer.concat([Buffer.of(22, 3, 1, 0x40, 0, 1), number(100_000, 3)]),
      HelloState.TOO_LARGE,
    ],
    ["the same over records", records(Buffer.concat([Buffer.of(1), number(100_000, 3)]), 1), HelloState.TOO_LARGE],
    [
      "one byte more than allowed",
      Buffer.concat([Buffer.of(22, 3, 1, 0x40, 0, 1), number(MAX - 3, 3)]),
      HelloState.TOO_LARGE,
    ],
    ["a hello of old, without extensions", records(Buffer.concat([Buffer.of(1), vector(3, bare)])), HelloState.FOUND],
    ["an empty name", records(helloMessage({ extensions: [serverName("")] })), HelloState.BROKEN],
    ["a name with NUL", records(helloMessage({ extensions: [serverName("a\0b")] })), HelloState.BROKEN],
    [
      "a name that is too long",
      records(helloMessage({ extensions: [serverName("a".repeat(256))] })),
      HelloState.BROKEN,
    ],
    ["an empty protocol", records(helloMessage({ extensions: [protocols("")] })), HelloState.BROKEN],
    ["an extension past its end", records(helloMessage({ extensions: [[16, Buffer.of(0, 9, 1)]] })), HelloState.BROKEN],
  ];
  for (const [name, bytes, state] of cases) assert.equal(readAll(bytes)[0], state, name);
});

test("any bytes in any pieces: an answer, the same for all pieces, and never an exception", () => {
  const cut = (bytes: Buffer, at: number): void => {
    const whole = readAll(bytes);
    const reader = new ClientHelloReader(MAX);
    const first = reader.read(bytes.subarray(0, at));
    const second = first === HelloState.MORE ? reader.read(bytes) : first;
    // What ends early ends the same way.
    assert.equal(second, whole[0]);
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), (bytes, at) => {
      cut(Buffer.from(bytes), at);
      cut(Buffer.concat([Buffer.of(22, 3, 1, 0, 60, 1, 0, 0), Buffer.from(bytes)]), at);
    }),
    { numRuns: 2000 },
  );
  const good = records(MESSAGE, 40);
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (place, value, at) => {
      const bent = Buffer.from(good);
      bent[place] = value;
      cut(bent, at);
    }),
    { numRuns: 3000 },
  );
});

test("the hello of a real client", async (t) => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: "127.0.0.1", servername: "Real.Test", ALPNProtocols: ["x", "h2"] });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [import("node:net").Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  const [state, hello] = readAll(bytes);
  assert.equal(state, HelloState.FOUND);
  assert.deepEqual([hello!.serverName, hello!.protocols], ["real.test", ["x", "h2"]]);
  assert.ok(hello!.versions.includes(0x0304) && hello!.groups.length > 0 && hello!.signatureAlgorithms.length > 0);
});

test("JA3 is that of its authors' example", () => {
  const ciphers = [0x3a3a, 47, 53, 5, 10, 49_161, 49_162, 49_171, 49_172, 50, 56, 19, 4];
  const bytes = records(
    helloMessage({
      version: 769,
      ciphers,
      extensions: [
        [0x1a1a, Buffer.alloc(0)],
        [0, vector(2, Buffer.of(0), vector(2, Buffer.from("a")))],
        [10, vector(2, numbers([0xfafa, 23, 24, 25], 2))],
        [11, vector(1, Buffer.of(0))],
      ],
    }),
  );
  assert.equal(ja3(readAll(bytes)[1]!), "ada70206e40642a3e4461f35503241d5");
});

test("JA4 is that of its authors' example", () => {
  const ciphers = [
    0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
    0x002f, 0x0035,
  ];
  const empty = [0x001b, 0x0017, 0xff01, 0x002d, 0x0023, 0x0012, 0x0005, 0x0033, 0x4469, 0x0015, 0x9a9a];
  const extensions: (readonly [number, Buffer])[] = [
    ...empty.map((type) => [type, Buffer.alloc(0)] as const),
    serverName("example.com"),
    protocols("h2", "http/1.1"),
    [0x000a, vector(2, numbers([0x001d], 2))],
    [0x000b, vector(1, Buffer.of(0))],
    [0x000d, vector(2, numbers([0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601], 2))],
    [0x002b, vector(1, numbers([0x7a7a, 0x0304, 0x0303], 2))],
  ];
  assert.equal(
    ja4(readAll(records(helloMessage({ ciphers, extensions })))[1]!),
    "t13d1516h2_8daaf6152771_e5627efa2ab1",
  );
  const least = readAll(records(helloMessage({ ciphers: [], extensions: [protocols("\x01")] })))[1]!;
  assert.equal(ja4(least), "t12i000101_000000000000_000000000000");
});
