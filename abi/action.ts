/** What a stream callback answers (Proxy-Wasm `proxy_action_t`, and the finer answers Envoy's host accepts). */
export const CONTINUE = 0;
export const PAUSE = 1;
/** Headers callbacks only. */
export const STOP_ALL_AND_BUFFER = 3;
/** Headers callbacks only. */
export const STOP_ALL_AND_WATERMARK = 4;
/** Body callbacks only. */
export const STOP_AND_WATERMARK = 2;
/** Body callbacks only: the chunk is dropped unless the filter kept it. */
export const STOP_NO_BUFFER = 3;
