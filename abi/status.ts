/** Results of a host call (Proxy-Wasm `proxy_status_t`). Legal TypeScript and legal AssemblyScript. */
export const OK = 0;
export const NOT_FOUND = 1;
export const BAD_ARGUMENT = 2;
export const SERIALIZATION_FAILURE = 3;
export const PARSE_FAILURE = 4;
export const BAD_EXPRESSION = 5;
export const INVALID_MEMORY_ACCESS = 6;
export const EMPTY = 7;
export const CAS_MISMATCH = 8;
export const RESULT_MISMATCH = 9;
export const INTERNAL_FAILURE = 10;
export const BROKEN_CONNECTION = 11;
export const UNIMPLEMENTED = 12;
