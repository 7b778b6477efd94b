/** Guests in Rust, as strict as its SDK, with and without WASI, for two versions of the ABI. */
import { speaks } from "./speak.ts";

speaks({ name: "rust", wasi: true });
speaks({ name: "rust-unknown" });
speaks({ name: "rust-0.1.0", wasi: true });
