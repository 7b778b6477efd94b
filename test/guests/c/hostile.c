/*
 * A filter that attacks its host. Streams whose request has `x-attack: WHAT@WHERE` attack in the callback WHERE; all
 * other streams are served well: they get `x-seen` in both directions. The plugin's configuration may name an attack
 * for the callbacks of the plugin itself.
 */
#include "abi.h"

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) extern u32
fd_write(u32 descriptor, const void *pieces, u32 count, u32 *written);

extern unsigned char __heap_base;
static size_t next_free;
static u32 lie;
static u32 root_id;
/* Volatile, so that no loop is optimized away. */
static volatile u32 sink;

void *memcpy(void *to, const void *from, size_t size) {
  for (size_t n = 0; n < size; n++) ((volatile char *)to)[n] = ((const char *)from)[n];
  return to;
}
void *memset(void *to, int value, size_t size) {
  for (size_t n = 0; n < size; n++) ((volatile char *)to)[n] = (char)value;
  return to;
}
static size_t length(const char *s) {
  size_t n = 0;
  while (s[n] != 0) n++;
  return n;
}
#define S(s) (s), length(s)
static int same(const char *a, const char *b) {
  while (*a != 0 && *a == *b) a++, b++;
  return *a == *b;
}
static size_t memory_bytes(void) { return __builtin_wasm_memory_size(0) * 65536; }

static void *take(size_t size) {
  if (next_free == 0) next_free = (size_t)&__heap_base;
  size_t at = (next_free + 7) & ~(size_t)7;
  next_free = at + size;
  while (next_free > memory_bytes())
    if (__builtin_wasm_memory_grow(0, 1) == (size_t)-1) return 0;
  return (void *)at;
}

/* ---- recursion ----------------------------------------------------------------------------- */

__attribute__((noinline)) static void recurse(u32 n) {
  volatile char room[64];
  room[n % 64] = (char)n;
  recurse(n + 1);
  sink += room[n % 64];
}
static void ping(u32 n);
__attribute__((noinline)) static void pong(u32 n) {
  ping(n + 1);
  sink++;
}
__attribute__((noinline)) static void ping(u32 n) {
  pong(n + 1);
  sink++;
}
typedef void (*step)(u32);
static step volatile table[2];
__attribute__((noinline)) static void through_table(u32 n) {
  table[n % 2](n + 1);
  sink++;
}

/* ---- pointers ------------------------------------------------------------------------------ */

#define CALL(name, ...) ((void)name(__VA_ARGS__))
#define P (text) p
#define O (void *)p
#define HUGE 0x80000000
/* Every host function that takes addresses, with addresses and sizes that are no good. */
static void evil(size_t p, size_t l) {
  for (u32 kind = 0; kind < 9; kind++) {
    CALL(proxy_get_header_map_value, kind, P, l, O, O);
    CALL(proxy_get_header_map_pairs, kind, O, O);
    CALL(proxy_get_header_map_size, kind, O);
    CALL(proxy_get_buffer_bytes, kind, p, l, O, O);
    CALL(proxy_get_buffer_bytes, kind, 0, 0xffffffff, O, O);
    CALL(proxy_get_buffer_status, kind, O, O);
    CALL(proxy_set_buffer_bytes, kind, p, l, P, l | HUGE);
    CALL(proxy_define_metric, kind, P, l | HUGE, O);
    CALL(proxy_log, kind, P, l | HUGE);
  }
  for (u32 kind = 4; kind < 12; kind++) {
    CALL(proxy_add_header_map_value, kind, P, l, P, l);
    CALL(proxy_replace_header_map_value, kind, P, l, P, l);
    CALL(proxy_remove_header_map_value, kind, P, l);
    CALL(proxy_set_header_map_pairs, kind, P, l);
  }
  CALL(proxy_add_header_map_value, 0, P, l | HUGE, P, l);
  CALL(proxy_add_header_map_value, 0, "x", 1, P, l | HUGE);
  CALL(proxy_replace_header_map_value, 0, "x", 1, P, l | HUGE);
  CALL(proxy_remove_header_map_value, 0, P, l | HUGE);
  CALL(proxy_set_header_map_pairs, 0, P, l | HUGE);
  CALL(proxy_get_current_time_nanoseconds, O);
  CALL(proxy_get_log_level, O);
  CALL(proxy_get_status, O, O, O);
  CALL(proxy_get_property, P, l, O, O);
  CALL(proxy_get_property, S("request.path"), O, O);
  CALL(proxy_set_property, P, l | HUGE, P, l);
  CALL(proxy_send_local_response, 200, P, l | HUGE, P, l, P, l, 0);
  CALL(proxy_http_call, P, l, P, l, P, l, P, l, l, O);
  CALL(proxy_http_call, S("side"), P, l, P, l, P, l, 100, O);
  CALL(proxy_grpc_call, P, l, P, l, P, l, P, l, P, l, l, O);
  CALL(proxy_grpc_stream, P, l, P, l, P, l, P, l, O);
  CALL(proxy_grpc_send, l, P, l, 1);
  CALL(proxy_get_shared_data, P, l, O, O, O);
  CALL(proxy_set_shared_data, P, l | HUGE, P, l, 0);
  CALL(proxy_register_shared_queue, P, l | HUGE, O);
  CALL(proxy_resolve_shared_queue, P, l, P, l, O);
  CALL(proxy_enqueue_shared_queue, l, P, l);
  CALL(proxy_dequeue_shared_queue, l, O, O);
  CALL(proxy_get_metric, l, O);
  CALL(proxy_call_foreign_function, P, l, P, l, O, O);
  CALL(proxy_call_foreign_function, S("compress"), P, l | HUGE, O, O);
  CALL(proxy_call_foreign_function, S("expr_evaluate"), P, l, O, O);
}
static void evil_calls(void) {
  size_t end = memory_bytes();
  const size_t pointers[] = {end - 1, end - 2, end - 3, end, end + 1, 0x7fffffff, HUGE, 0xfffffff8, 0xffffffff};
  const size_t sizes[] = {2, 5, 16, 65536, 0x7fffffff, HUGE, 0xffffffff};
  for (u32 n = 0; n < sizeof pointers / sizeof *pointers; n++)
    for (u32 m = 0; m < sizeof sizes / sizeof *sizes; m++) evil(pointers[n], sizes[m]);
}
/* Address and size each fit into 32 bits, their sum does not. */
static void wrap_around(void) {
  for (size_t p = 65536; p < memory_bytes(); p *= 2) evil(p, 0u - p);
  for (size_t p = 1; p < 65536; p *= 2) evil(0u - p, p + 64);
}

/* ---- allocators that lie ------------------------------------------------------------------- */

enum { TRUTH, ZERO, OUTSIDE, EDGE, SAME, GROWS, TRAPS, SPINS, RECURSES, CALLS, RESULT };
/* With room for what the host writes over the results themselves. */
static struct {
  char *pointer;
  size_t size;
  char room[4096];
} result;

CALLBACK(void, proxy_abi_version_0_2_1)(void) {}
CALLBACK(void *, proxy_on_memory_allocate)(size_t size) {
  switch (lie) {
  case ZERO:
    return 0;
  case OUTSIDE:
    return (void *)0xfffffff0;
  case EDGE:
    return (void *)(memory_bytes() - 1);
  case SAME:
    return (void *)64;
  case GROWS:
    __builtin_wasm_memory_grow(0, 16);
    break;
  case TRAPS:
    __builtin_trap();
  case SPINS:
    for (;;) sink++;
  case RECURSES:
    recurse(0);
    break;
  case CALLS:
    lie = TRUTH;
    evil_calls();
    break;
  case RESULT:
    return &result;
  }
  return take(size);
}

static void ask(void) {
  for (u32 n = 0; n < 50; n++) {
    proxy_get_header_map_value(REQUEST_HEADERS, S(":path"), &result.pointer, &result.size);
    proxy_get_header_map_pairs(REQUEST_HEADERS, &result.pointer, &result.size);
    proxy_get_property(S("request.path"), &result.pointer, &result.size);
    proxy_get_buffer_bytes(VM_CONFIG, 0, 0xffffffff, &result.pointer, &result.size);
  }
  lie = TRUTH;
}

/* ---- storms -------------------------------------------------------------------------------- */

static char number_text[32];
static text numbered(text prefix, u32 n) {
  char *to = number_text;
  while (*prefix != 0) *to++ = *prefix++;
  for (int shift = 28; shift >= 0; shift -= 4) *to++ = "0123456789abcdef"[(n >> shift) & 15];
  *to = 0;
  return number_text;
}
static size_t side_head(char *to) {
  static const text parts[] = {":method", "GET", ":path", "/", ":authority", "side"};
  u32 count = 3;
  memcpy(to, &count, 4);
  char *at = to + 4 + 24;
  for (u32 n = 0; n < 6; n++) {
    u32 size = length(parts[n]);
    memcpy(to + 4 + n * 4, &size, 4);
    memcpy(at, parts[n], size + 1);
    at += size + 1;
  }
  return at - to;
}

#define MANY(n) for (u32 n = 0; n < 100000; n++)

static void storm(text what) {
  u32 token = 0, id = 0;
  char head[128];
  size_t size = side_head(head);
  if (same(what, "http-storm")) MANY(n) proxy_http_call(S("side"), head, size, 0, 0, 0, 0, 5000, &token);
  if (same(what, "grpc-storm")) MANY(n) proxy_grpc_call(S("side"), S("a.B"), S("C"), 0, 0, 0, 0, 5000, &token);
  if (same(what, "grpc-stream-storm")) MANY(n) {
      proxy_grpc_stream(S("side"), S("a.B"), S("C"), 0, 0, &token);
      proxy_grpc_send(token, S("message"), 0);
    }
  if (same(what, "log-storm")) MANY(n) proxy_log(4, S(numbered("storm ", n)));
  if (same(what, "print-storm")) {
    /* Never a newline: what waits for one must not be looked through again and again. */
    struct {
      text from;
      size_t size;
    } piece = {"12345678901234567890", 20};
    MANY(n) fd_write(1, &piece, 1, &token);
  }
  if (same(what, "metric-storm")) MANY(n) {
      proxy_define_metric(n % 3, S(numbered("storm.", n)), &id);
      proxy_increment_metric(id, 1);
    }
  if (same(what, "queue-storm")) {
    for (u32 n = 0; n < 1000; n++) proxy_register_shared_queue(S(numbered("storm", n)), &token);
    MANY(n) proxy_enqueue_shared_queue(token, (text)1024, 1024);
  }
  if (same(what, "shared-data-storm")) MANY(n) proxy_set_shared_data(S(numbered("storm", n)), (text)1024, 1024, 0);
  if (same(what, "property-storm")) MANY(n) proxy_set_property(S(numbered("storm", n)), (text)1024, 1024);
  if (same(what, "header-storm")) MANY(n) proxy_add_header_map_value(RESPONSE_HEADERS, S(numbered("x-", n)), "v", 1);
  if (same(what, "body-storm")) MANY(n) proxy_set_buffer_bytes(RESPONSE_BODY, 0xffffffff, 0, (text)1024, 64000);
  if (same(what, "edit-storm")) {
    MANY(n) {
      char *bytes = 0;
      proxy_set_buffer_bytes(RESPONSE_BODY, n % 7, 1, (text)1024, 64000);
      proxy_set_buffer_bytes(RESPONSE_BODY, 0, 0, (text)1024, 64000);
      proxy_get_buffer_bytes(RESPONSE_BODY, 0, 1, &bytes, &size);
    }
  }
  if (same(what, "tick-storm")) MANY(n) proxy_set_tick_period_milliseconds(1 + n % 2);
}

/* ---- foreign functions --------------------------------------------------------------------- */

#define FOREIGN(name, ...) proxy_call_foreign_function(S(name), __VA_ARGS__, 0, &given)

static void foreign(text what) {
  static const size_t large = 4 << 20;
  size_t given = 0, packed_size = 0;
  char *zeros = take(large), *packed = 0;
  if (zeros == 0) return;
  if (same(what, "compress-storm")) MANY(n) FOREIGN("compress", zeros, large);
  if (same(what, "uncompress-bomb")) {
    proxy_call_foreign_function(S("compress"), zeros, large, &packed, &packed_size);
    MANY(n) FOREIGN("uncompress", packed, packed_size);
  }
  if (same(what, "expression-storm")) MANY(n) FOREIGN("expr_create", S("request.path.matches('^(a+)+$')"));
  if (same(what, "signature-storm")) MANY(n) FOREIGN("verify_signature", zeros, 4096);
}

/* ---- order and ownership ------------------------------------------------------------------- */

static void replies(void) {
  for (u32 n = 0; n < 1000; n++) {
    proxy_send_local_response(418, S("first"), S("first"), 0, 0, (u32)-1);
    proxy_send_local_response(500, S("second"), S("second"), 0, 0, (u32)-1);
    proxy_continue_stream(0);
    proxy_continue_stream(1);
  }
}
/* What a context of the same instance may do to all others. */
static void hop(void) {
  for (u32 id = 0; id < 2000; id++) {
    if (proxy_set_effective_context(id) != OK || id == root_id) continue;
    proxy_send_local_response(599, S("hop"), S("hop"), 0, 0, (u32)-1);
  }
}
static void endings(void) {
  for (u32 n = 0; n < 1000; n++) {
    proxy_done();
    proxy_set_effective_context(root_id);
    proxy_done();
    proxy_set_effective_context(0xffffffff);
  }
}

static void attack(text what) {
#ifdef HARMLESS
  return;
#endif
  if (same(what, "spin"))
    for (;;) sink++;
  if (same(what, "spin-calling"))
    for (;;) proxy_get_status(0, 0, 0);
  if (same(what, "trap")) __builtin_trap();
  volatile u32 nothing = 0;
  if (same(what, "divide")) sink = 100 / nothing;
  if (same(what, "wild")) *(volatile u32 *)0xfffffff0 = 1;
  if (same(what, "recurse")) recurse(0);
  if (same(what, "mutual")) ping(0);
  if (same(what, "table")) {
    table[0] = table[1] = through_table;
    through_table(0);
  }
  if (same(what, "grow"))
    while (__builtin_wasm_memory_grow(0, 16) != (size_t)-1) sink++;
  if (same(what, "grow-endless"))
    for (;;) __builtin_wasm_memory_grow(0, 1);
  if (same(what, "allocate"))
    for (;;)
      if (take(65536) == 0) __builtin_trap();
  static const text lies[] = {"",          "lie-zero",  "lie-outside",  "lie-edge",  "lie-same",  "lie-grows",
                              "lie-traps", "lie-spins", "lie-recurses", "lie-calls", "lie-result"};
  for (u32 n = 1; n < sizeof lies / sizeof *lies; n++)
    if (same(what, lies[n])) {
      lie = n;
      ask();
    }
  if (same(what, "pointers")) {
    memset((void *)(memory_bytes() - 16), 0xff, 16);
    evil_calls();
  }
  if (same(what, "wrap")) wrap_around();
  if (same(what, "replies")) replies();
  if (same(what, "close"))
    for (u32 n = 0; n < 8; n++) proxy_close_stream(n);
  if (same(what, "hop")) hop();
  if (same(what, "endings")) endings();
  storm(what);
  static const text names[] = {"compress-storm", "uncompress-bomb", "expression-storm", "signature-storm"};
  for (u32 n = 0; n < 4; n++)
    if (same(what, names[n])) foreign(what);
}

/* ---- callbacks ----------------------------------------------------------------------------- */

struct stream {
  u32 id;
  char attack[64];
};
static struct stream streams[1024];
static char of_plugin[64];

static struct stream *stream(u32 id) { return &streams[id % 1024]; }

/* Where an attack takes place: "@tick" of "spin@tick". */
static text place(text which) {
  while (*which != 0 && *which != '@') which++;
  return which;
}

/* Attacks if that is the place. */
static void maybe(text which, text where) {
  char what[64];
  u32 n = 0;
  if (!same(place(which), where)) return;
  while (which[n] != '@') what[n] = which[n], n++;
  what[n] = 0;
  attack(what);
}

static void copy_text(char *to, text from, size_t size) {
  if (size > 63) size = 63;
  memcpy(to, from, size);
  to[size] = 0;
}

CALLBACK(void, proxy_on_context_create)(u32 id, u32 parent) {
  if (parent == 0) root_id = id;
  stream(id)->id = id;
  stream(id)->attack[0] = 0;
  char *value = 0;
  size_t size = 0;
  static const char path[] = "request\0headers\0x-attack";
  if (parent == 0 || proxy_get_property(path, sizeof path - 1, &value, &size) != OK) return;
  char which[64];
  copy_text(which, value, size);
  maybe(which, "@create");
}
static void configure(void) {
  char *bytes = 0;
  size_t size = 0;
  if (proxy_get_buffer_bytes(PLUGIN_CONFIG, 0, 63, &bytes, &size) == OK) copy_text(of_plugin, bytes, size);
}
CALLBACK(u32, proxy_on_vm_start)(u32 id, u32 size) {
  (void)id, (void)size;
  configure();
  maybe(of_plugin, "@vm_start");
  return 1;
}
CALLBACK(u32, proxy_on_configure)(u32 id, u32 size) {
  (void)id, (void)size;
  configure();
#ifndef HARMLESS
  u32 queue;
  proxy_register_shared_queue(S("attack"), &queue);
#endif
  if (same(place(of_plugin), "@tick")) proxy_set_tick_period_milliseconds(1);
  maybe(of_plugin, "@configure");
  return 1;
}
CALLBACK(void, proxy_on_tick)(u32 id) {
  (void)id;
  maybe(of_plugin, "@tick");
}
CALLBACK(void, proxy_on_queue_ready)(u32 id, u32 token) {
  char *bytes = 0;
  size_t size = 0;
  (void)id;
  if (proxy_dequeue_shared_queue(token, &bytes, &size) != OK) return;
  char what[64];
  copy_text(what, bytes, size);
  maybe(what, "@queue");
}
CALLBACK(u32, proxy_on_request_headers)(u32 id, u32 count, u32 end) {
  struct stream *one = stream(id);
  char *value = 0;
  size_t size = 0;
  u32 token;
  (void)count, (void)end;
  proxy_add_header_map_value(REQUEST_HEADERS, S("x-seen"), S("hostile"));
#ifdef HARMLESS
  return CONTINUE;
#endif
  if (proxy_get_header_map_value(REQUEST_HEADERS, S("x-attack"), &value, &size) != OK) return CONTINUE;
  copy_text(one->attack, value, size);
  text where = place(one->attack);
  if (same(where, "@queue") && proxy_resolve_shared_queue(0, 0, S("attack"), &token) == OK)
    proxy_enqueue_shared_queue(token, S(one->attack));
  if (same(where, "@http_call")) {
    char head[128];
    size_t head_size = side_head(head);
    if (proxy_http_call(S("side"), head, head_size, 0, 0, 0, 0, 5000, &token) == OK) return PAUSE;
  }
  if (same(where, "@grpc_close") &&
      proxy_grpc_call(S("side"), S("a.B"), S("C"), 0, 0, 0, 0, 5000, &token) == OK)
    return PAUSE;
  maybe(one->attack, "@request_headers");
  return CONTINUE;
}
CALLBACK(u32, proxy_on_request_body)(u32 id, u32 size, u32 end) {
  (void)size, (void)end;
  maybe(stream(id)->attack, "@request_body");
  return CONTINUE;
}
CALLBACK(u32, proxy_on_request_trailers)(u32 id, u32 count) {
  (void)count;
  maybe(stream(id)->attack, "@request_trailers");
  return CONTINUE;
}
CALLBACK(u32, proxy_on_response_headers)(u32 id, u32 count, u32 end) {
  (void)count, (void)end;
  proxy_add_header_map_value(RESPONSE_HEADERS, S("x-seen"), S("hostile"));
  maybe(stream(id)->attack, "@response_headers");
  return CONTINUE;
}
CALLBACK(u32, proxy_on_response_body)(u32 id, u32 size, u32 end) {
  (void)size, (void)end;
  maybe(stream(id)->attack, "@response_body");
  return CONTINUE;
}
CALLBACK(u32, proxy_on_response_trailers)(u32 id, u32 count) {
  (void)count;
  maybe(stream(id)->attack, "@response_trailers");
  return CONTINUE;
}
/* Streams that wait for the answer of a call. */
static void answered(text where) {
  for (u32 n = 0; n < 1024; n++) {
    struct stream *one = &streams[n];
    if (!same(place(one->attack), where) || proxy_set_effective_context(one->id) != OK) continue;
    maybe(one->attack, where);
    proxy_continue_stream(0);
  }
}
CALLBACK(void, proxy_on_http_call_response)(u32 id, u32 token, u32 headers, u32 size, u32 trailers) {
  (void)id, (void)token, (void)headers, (void)size, (void)trailers;
  answered("@http_call");
}
CALLBACK(void, proxy_on_grpc_close)(u32 id, u32 token, u32 status) {
  (void)id, (void)token, (void)status;
  answered("@grpc_close");
}
CALLBACK(u32, proxy_on_done)(u32 id) {
  maybe(stream(id)->attack, "@done");
  return 1;
}
CALLBACK(void, proxy_on_log)(u32 id) { maybe(stream(id)->attack, "@log"); }
CALLBACK(void, proxy_on_delete)(u32 id) {
  char last[64];
  copy_text(last, stream(id)->attack, 63);
  stream(id)->attack[0] = 0;
  maybe(last, "@delete");
}
