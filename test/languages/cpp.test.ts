/** Guests in C++, laid out as its SDK's are, for two versions of the ABI and with three ways to start. */
import { speaks } from "./speak.ts";

speaks({ name: "cpp", wasi: true });
speaks({ name: "cpp-constructors", wasi: true });
speaks({ name: "cpp-0.1.0", wasi: true });
