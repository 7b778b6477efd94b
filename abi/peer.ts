/** Who closed a connection (Proxy-Wasm `proxy_peer_type_t`). */
export const UNKNOWN = 0;
export const LOCAL = 1;
export const REMOTE = 2;
