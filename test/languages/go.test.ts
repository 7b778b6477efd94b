/** A guest in Go: the whole runtime of the language in a reactor for wasip1. */
import { speaks } from "./speak.ts";

speaks({ name: "go", wasi: true });
