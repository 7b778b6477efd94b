/** TLS hellos made by hand, for tests of whoever reads them. */

export interface HelloParts {
  readonly version?: number;
  readonly ciphers?: readonly number[];
  readonly extensions?: readonly (readonly [type: number, content: Buffer])[];
}

export function number(value: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUIntBE(value, 0, size);
  return bytes;
}

/** Bytes behind their length of `size` bytes. */
export function vector(size: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([number(content.length, size), content]);
}

export function numbers(values: readonly number[], size: number): Buffer {
  return Buffer.concat(values.map((value) => number(value, size)));
}

export const serverName = (name: string | Buffer): readonly [number, Buffer] => [
  0,
  vector(2, Buffer.of(0), vector(2, Buffer.from(name))),
];
export const protocols = (...names: readonly string[]): readonly [number, Buffer] => [
  16,
  vector(2, ...names.map((name) => vector(1, Buffer.from(name)))),
];

/** The handshake message. */
export function helloMessage({ version = 0x0303, ciphers = [0x1301], extensions = [] }: HelloParts): Buffer {
  const body = Buffer.concat([
    number(version, 2),
    Buffer.alloc(32, 7),
    vector(1, Buffer.alloc(32, 9)),
    vector(2, numbers(ciphers, 2)),
    vector(1, Buffer.of(0)),
    vector(2, ...extensions.map(([type, content]) => Buffer.concat([number(type, 2), vector(2, content)]))),
  ]);
  return Buffer.concat([Buffer.of(1), number(body.length, 3), body]);
}

/** The message in records of at most `size` bytes. */
export function records(message: Buffer, size = 16_384): Buffer {
  const made: Buffer[] = [];
  for (let at = 0; at < message.length; at += size)
    made.push(Buffer.of(22, 3, 1), vector(2, message.subarray(at, at + size)));
  return Buffer.concat(made);
}
