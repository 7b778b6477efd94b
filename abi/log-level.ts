/** Levels of `proxy_log` (Proxy-Wasm `proxy_log_level_t`). */
export const TRACE = 0;
export const DEBUG = 1;
export const INFO = 2;
export const WARN = 3;
export const ERROR = 4;
export const CRITICAL = 5;
