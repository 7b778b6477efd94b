/** `expr_create`, `expr_evaluate`, `expr_delete`: expressions of CEL over the attributes that are properties too. */
import * as Status from "../../../../abi/status.ts";
import {
  EXPRESSION_FUEL_PER_CHARACTER,
  EXPRESSION_FUEL_PER_STEP,
  MAX_EXPRESSION_BYTES,
  MAX_EXPRESSION_STEPS,
} from "../../../limits.ts";
import { serialize } from "../../cel/serialize.ts";
import { SyntaxFault } from "../../cel/tokens.ts";
import { Failure } from "../../cel/values.ts";
import type { Instance } from "../../instance/instance.ts";
import { readProperty } from "../properties.ts";
import { attribute } from "./attributes.ts";
import { NO_RESULT } from "./function.ts";
import type { ForeignFunction, ForeignResult } from "./function.ts";

const TOKEN_BYTES = 4;
const NO_TOKEN = { status: Status.BAD_ARGUMENT, why: "argument: a token has 4 bytes" };

export const exprCreate: ForeignFunction = {
  meaning: "text of an expression of CEL → its token, u32",
  call(instance, argument) {
    if (argument.length > MAX_EXPRESSION_BYTES) {
      return { status: Status.BAD_ARGUMENT, why: `argument: more than ${MAX_EXPRESSION_BYTES} bytes` };
    }
    instance.spend(argument.length * EXPRESSION_FUEL_PER_CHARACTER);
    try {
      const token = instance.expressions.create(argument.toString("utf8"));
      if (token === undefined) return { status: Status.BAD_ARGUMENT, why: "too many expressions: delete some" };
      const result = Buffer.alloc(TOKEN_BYTES);
      result.writeUInt32LE(token);
      return result;
    } catch (error) {
      if (!(error instanceof SyntaxFault)) throw error;
      return { status: Status.BAD_ARGUMENT, why: `argument: ${error.message}` };
    }
  },
};

export const exprEvaluate: ForeignFunction = {
  meaning: "token → the value, encoded as properties are",
  call(instance, argument) {
    if (argument.length !== TOKEN_BYTES) return NO_TOKEN;
    const expression = instance.expressions.get(argument.readUInt32LE(0));
    if (expression === undefined) return { status: Status.NOT_FOUND, why: "argument: no expression has that token" };
    const plain = expression.path === undefined ? undefined : plainValue(instance, expression.path);
    if (plain !== undefined) return plain;
    const bytes = expression.evaluateTo(
      (name, spend) => attribute(instance, name, spend),
      MAX_EXPRESSION_STEPS,
      serialize,
    );
    instance.spend(expression.steps * EXPRESSION_FUEL_PER_STEP);
    if (bytes instanceof Failure) return { status: Status.INTERNAL_FAILURE, why: bytes.reason };
    return bytes ?? { status: Status.SERIALIZATION_FAILURE, why: "the value has no bytes, or too many" };
  },
};

/** An expression that only names a property has its very bytes, which need not be UTF-8. */
function plainValue(instance: Instance, path: readonly string[]): ForeignResult | undefined {
  const value = readProperty(instance, path.join("\0"));
  if (value === undefined || value === null) return undefined;
  return typeof value === "string" ? Buffer.from(value, "latin1") : value;
}

export const exprDelete: ForeignFunction = {
  meaning: "token → nothing",
  call(instance, argument) {
    if (argument.length !== TOKEN_BYTES) return NO_TOKEN;
    instance.expressions.delete(argument.readUInt32LE(0));
    return NO_RESULT;
  },
};
