/** The WASI function that filters may need, declared; the file's name is the import module's name. */

export declare function random_get(buffer: usize, size: usize): i32;
