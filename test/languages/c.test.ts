/** Guests in C: without a library, on wasi-libc as reactor and as command, and in the shape of TinyGo's modules. */
import { speaks } from "./speak.ts";

speaks({ name: "c", global: true });
speaks({ name: "c-reactor", wasi: true, global: true });
speaks({ name: "c-command", wasi: true, global: true });
speaks({ name: "tinygo", wasi: true, global: true });
