/*
 * Makes the errand filter look like a module of TinyGo, for which Debian has no compiler: its imports, its calls of WASI
 * at start, its allocator, which fails for a size of 0, and its many exported allocators.
 */
#define WASI(type, name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) extern type name
WASI(u32, fd_write)(u32 fd, void *vectors, u32 count, u32 *written);
WASI(u32, args_sizes_get)(u32 *count, u32 *size);
WASI(u32, args_get)(char **list, char *bytes);
WASI(u32, environ_sizes_get)(u32 *count, u32 *size);
WASI(u32, environ_get)(char **list, char *bytes);
WASI(u32, clock_time_get)(u32 clock, uint64_t precision, uint64_t *time);
WASI(u32, random_get)(void *bytes, u32 size);
WASI(void, proc_exit)(u32 code);

static char environment[64] = "none";
static u32 environment_count;
static u32 started;

static void print(text line) {
  struct {
    text at;
    u32 size;
  } vectors[2] = {{line, strlen(line)}, {"\n", 1}};
  u32 written = 0;
  if (fd_write(1, vectors, 2, &written) != 0 || written != strlen(line) + 1) proc_exit(2);
}

CALLBACK(void, _start)(void) {
  u32 count, size;
  char bytes[64], *list[4];
  uint64_t now = 0, seed = 0;
  started++;
  if (args_sizes_get(&count, &size) != 0 || count != 0 || args_get(list, bytes) != 0) proc_exit(3);
  if (environ_sizes_get(&environment_count, &size) != 0 || size > sizeof bytes) proc_exit(4);
  if (environment_count > 0 && environ_get(list, bytes) == 0) {
    char *equals = list[0];
    while (*equals != '=') equals++;
    memcpy(environment, equals + 1, strlen(equals + 1) + 1);
  }
  if (clock_time_get(0, 1000, &now) != 0 || now == 0 || random_get(&seed, 8) != 0 || seed == 0) proc_exit(5);
  print(TAG " starts");
}

/* The first byte of an empty slice has no address. */
static void *allocate(size_t size) {
  if (size == 0 || started != 1) {
    print("panic: runtime error: index out of range");
    __builtin_trap();
  }
  return malloc(size);
}
CALLBACK(void *, proxy_on_memory_allocate)(size_t size) { return allocate(size); }
__attribute__((export_name("malloc"))) void *exported_malloc(size_t size) { return allocate(size); }
__attribute__((export_name("free"))) void exported_free(void *at) { free(at); }
__attribute__((export_name("calloc"))) void *exported_calloc(size_t n, size_t size) { return allocate(n * size); }
__attribute__((export_name("realloc"))) void *exported_realloc(void *at, size_t size) {
  (void)at;
  return allocate(size);
}
CALLBACK(void, proxy_abi_version_0_2_0)(void) {}
