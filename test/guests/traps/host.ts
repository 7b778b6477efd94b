// Host functions of the guest that fails.

// @ts-ignore: a decorator of the compiler
@external("env", "proxy_log")
export declare function proxy_log(level: u32, message: usize, size: usize): u32;
