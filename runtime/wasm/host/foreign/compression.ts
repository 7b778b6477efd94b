/** `compress` and `uncompress`: zlib's format, as Envoy's. */
import { deflateSync, inflateSync } from "node:zlib";
import * as Status from "../../../../abi/status.ts";
import { COMPRESS_FUEL_PER_BYTE, MAX_UNCOMPRESSED_BYTES, UNCOMPRESS_FUEL_PER_BYTE } from "../../../limits.ts";
import type { ForeignFunction } from "./function.ts";

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
    try {
      const result = inflateSync(argument, { maxOutputLength: MAX_UNCOMPRESSED_BYTES });
      instance.spend(result.length * UNCOMPRESS_FUEL_PER_BYTE);
      return result;
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === undefined) throw error;
      const why = code === "ERR_BUFFER_TOO_LARGE" ? `more than ${MAX_UNCOMPRESSED_BYTES} bytes` : "not zlib's format";
      return { status: Status.SERIALIZATION_FAILURE, why: `argument: ${why}` };
    }
  },
};
