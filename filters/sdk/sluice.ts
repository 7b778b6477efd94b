/**
 * The host functions of the `sluice` import module (abi/functions.ts), declared; the file's name is the
 * module's name. A filter that is to run in other hosts as well does not use `extensions.ts`, which is the
 * only importer of this file.
 */

export declare function set_timer(delayMs: i32): i32;
export declare function get_route_configuration_id(idP: usize): i32;
export declare function get_route_configuration(id: u32, bytesPP: usize, sizeP: usize): i32;
export declare function get_rate_limit_descriptors(stage: i32, virtualHostMode: i32, bytesPP: usize, sizeP: usize): i32;
export declare function set_response_flag(flag: i32): i32;
export declare function set_dynamic_metadata(name: usize, nameSize: usize, fields: usize, size: usize): i32;
export declare function replace_dynamic_metadata(name: usize, nameSize: usize, fields: usize, size: usize): i32;
export declare function skip_response(): i32;
export declare function set_response_pace(bytesPerSecond: i32): i32;
export declare function define_token_bucket(
  key: usize,
  keySize: usize,
  maxTokens: u32,
  tokensPerFill: u32,
  fillIntervalMs: u32,
  idP: usize,
): i32;
export declare function take_tokens(id: u32, count: u32, remainingP: usize, resetMsP: usize): i32;
export declare function runtime_fraction(key: usize, keySize: usize, numerator: u32, denominator: u32): i32;
export declare function runtime_number(key: usize, keySize: usize, valueP: usize): i32;
export declare function random(): u32;
export declare function match_regex(regex: usize, regexSize: usize, text: usize, textSize: usize): i32;
