/** `compress` and `uncompress`: zlib's format, as Envoy's. */
import { deflateSync, inflateSync } from "node:zlib";
import * as Status from "../../../../abi/status.ts";
import { COMPRESS_FUEL_PER_BYTE, MAX_UNCOMPRESSED_BYTES, UNCOMPRESS_FUEL_PER_BYTE } from "../../../limits.ts";
import type { ForeignFunction } from "./function.ts";

/** Bytes that a byte of deflate can stand for (zlib's technical details). */
const MAX_INFLATION = 1032;

export const compress: ForeignFunction = {
  meaning: "bytes → the same in zlib's format",
  call(instance, argument) {
    instance.spend(argument.length * COMPRESS_FUEL_PER_BYTE);
    return deflateSync(argument);
  },
};

export const uncompress: ForeignFunction = {
  meaning: "bytes in zlib's format → what they stand for, at most 4 MiB",
  call(instance, argument) {
    let result: Buffer;
    try {
      result = inflateSync(argument, { maxOutputLength: MAX_UNCOMPRESSED_BYTES });
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === undefined) throw error;
      // What came out before it failed was work, too: a byte of the format stands for so many at most.
      const most = Math.min(argument.length * MAX_INFLATION, MAX_UNCOMPRESSED_BYTES);
      instance.spend(most * UNCOMPRESS_FUEL_PER_BYTE);
      const why = code === "ERR_BUFFER_TOO_LARGE" ? `more than ${MAX_UNCOMPRESSED_BYTES} bytes` : "not zlib's format";
      return { status: Status.SERIALIZATION_FAILURE, why: `argument: ${why}` };
    }
    instance.spend(result.length * UNCOMPRESS_FUEL_PER_BYTE);
    return result;
  },
};
