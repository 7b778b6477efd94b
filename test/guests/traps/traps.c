/* Ways to fail in C, each in a line of its own; the number of header fields chooses. The test reads the lines from the marks. */
typedef unsigned int u32;

__attribute__((import_module("env"), import_name("proxy_log"))) u32 proxy_log(u32 level, const char *text, u32 size);
__attribute__((export_name("malloc"))) void *allocate(u32 size) { return (void *)(size * 0 + 60000); }
__attribute__((export_name("proxy_abi_version_0_2_1"))) void marker(void) {}

static int quotient(int a, int b) {
  proxy_log(2, "dividing", 8);
  return a / b; /* division */
}

static volatile int zero;

__attribute__((export_name("proxy_on_request_headers"))) u32 on_request_headers(u32 id, u32 choice, u32 end) {
  if (choice == 1) __builtin_trap(); /* trap */
  if (choice == 2) return quotient((int)id, zero); /* call */
  if (choice == 3) return *(u32 *)0xfffffff0; /* pointer */
  while (choice == 4) zero = 0; /* loop */
  return end & 0;
}
