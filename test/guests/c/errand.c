/*
 * The errand filter in C, without an SDK (test/languages/errands.ts says what an errand is). With wasi-libc it also
 * prints, reads the environment and the clock, and takes memory from malloc; without any library it brings its own.
 */
#include "abi.h"

#ifdef __wasi__
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
extern char **environ;
#else
/* A bump allocator: memory grows, and nothing is ever freed. */
extern unsigned char __heap_base;
static size_t next_free;
static void *malloc(size_t size) {
  if (next_free == 0) next_free = (size_t)&__heap_base;
  size_t at = (next_free + 7) & ~(size_t)7;
  next_free = at + size;
  while (next_free > __builtin_wasm_memory_size(0) * 65536)
    if (__builtin_wasm_memory_grow(0, 1) == (size_t)-1) __builtin_trap();
  return (void *)at;
}
static void free(void *at) { (void)at; }
void *memcpy(void *to, const void *from, size_t size) {
  char *a = to;
  const char *b = from;
  while (size-- > 0) *a++ = *b++;
  return to;
}
void *memset(void *to, int value, size_t size) {
  char *a = to;
  while (size-- > 0) *a++ = (char)value;
  return to;
}
size_t strlen(const char *s) {
  size_t n = 0;
  while (s[n] != 0) n++;
  return n;
}
int strcmp(const char *a, const char *b) {
  while (*a != 0 && *a == *b) a++, b++;
  return (unsigned char)*a - (unsigned char)*b;
}
#endif

/* What the callbacks of one stream share. */
struct stream {
  u32 id, token, calls;
  char *errand;
  char text[256];
  struct stream *next;
};
static struct stream *streams;
static u32 root_id, queue, counter, gauge, histogram;
static char *config, *vm_config;

#ifdef TINYGO
#include "tinygo.h"
#else
CALLBACK(void, proxy_abi_version_0_2_1)(void) {}
CALLBACK(void *, proxy_on_memory_allocate)(size_t size) {
  void *at = malloc(size);
  /* Real allocators of SDKs do this too: a host has to look at memory anew afterwards. */
  if (size > 60000) __builtin_wasm_memory_grow(0, 1);
  return at;
}
#endif

static void must(u32 status) {
  if (status != OK) __builtin_trap();
}

/* Turns what the host gave into a string of ours. */
static char *owned(char *bytes, size_t size) {
  char *copy = malloc(size + 1);
  memcpy(copy, bytes, size);
  copy[size] = 0;
  if (size > 0) free(bytes);
  return copy;
}

static char *add(char *to, text s) {
  size_t n = strlen(s);
  memcpy(to, s, n + 1);
  return to + n;
}
static char *number(char *to, uint64_t n) {
  char digits[24];
  int at = 23;
  digits[at] = 0;
  do digits[--at] = (char)('0' + n % 10);
  while ((n /= 10) > 0);
  return add(to, digits + at);
}

#define S(s) (s), strlen(s)

static void say(u32 level, text message) { must(proxy_log(level, S(message))); }

static char *header(u32 map, text key) {
  char *value = 0;
  size_t size = 0;
  if (proxy_get_header_map_value(map, S(key), &value, &size) != OK) return 0;
  return owned(value, size);
}
static void replace(u32 map, text key, text value) { must(proxy_replace_header_map_value(map, S(key), S(value))); }

static char *buffer(u32 type) {
  char *bytes = 0;
  size_t size = 0;
  if (proxy_get_buffer_bytes(type, 0, 0xffffffff, &bytes, &size) != OK) return owned(0, 0);
  return owned(bytes, size);
}

static char *property(text path, size_t path_size) {
  char *value = 0;
  size_t size = 0;
  if (proxy_get_property(path, path_size, &value, &size) != OK) return 0;
  return owned(value, size);
}

/* Header pairs from a list of names and values that ends with a null pointer. */
static size_t pairs(char *to, text *list) {
  u32 n = 0;
  while (list[2 * n] != 0) n++;
  memcpy(to, &n, 4);
  char *at = to + 4 + n * 8;
  for (u32 i = 0; i < 2 * n; i++) {
    u32 size = strlen(list[i]);
    memcpy(to + 4 + i * 4, &size, 4);
    at = add(at, list[i]) + 1;
  }
  return at - to;
}

static struct stream *stream(u32 id) {
  for (struct stream *one = streams; one != 0; one = one->next)
    if (one->id == id) return one;
  __builtin_trap();
}

#ifdef __wasi__
/* What needs a C library: environment, clocks, random numbers, both output streams. */
static void library(char *to) {
  struct timespec now, later;
  unsigned char random[16];
  char *value = getenv("ERRAND");
  int fine = clock_gettime(CLOCK_REALTIME, &now) == 0 && now.tv_sec > 1600000000;
  fine = fine && clock_gettime(CLOCK_MONOTONIC, &later) == 0 && getentropy(random, sizeof random) == 0;
  int count = 0;
  for (char **one = environ; one != 0 && *one != 0; one++) count++;
  sprintf(to, "%s %d %s", value == 0 ? "none" : value, count, fine ? "fine" : "broken");
}
#elif defined TINYGO
static void library(char *to) { add(add(number(add(add(to, environment), " "), environment_count), " "), "fine"); }
#else
static void library(char *to) { add(to, "none"); }
#endif

/* ---- root ---------------------------------------------------------------------------------- */

CALLBACK(void, proxy_on_context_create)(u32 id, u32 parent) {
  if (parent == 0) {
    root_id = id;
    return;
  }
  struct stream *one = malloc(sizeof *one);
  memset(one, 0, sizeof *one);
  one->id = id;
  one->next = streams;
  streams = one;
}

CALLBACK(u32, proxy_on_vm_start)(u32 id, u32 size) {
  vm_config = buffer(VM_CONFIG);
  return id == root_id && strlen(vm_config) == size;
}

CALLBACK(u32, proxy_on_configure)(u32 id, u32 size) {
  config = buffer(PLUGIN_CONFIG);
  if (id != root_id || strlen(config) != size || strcmp(config, "refuse") == 0) return 0;
  must(proxy_set_tick_period_milliseconds(20));
  must(proxy_register_shared_queue(S(TAG), &queue));
  must(proxy_define_metric(0, S(TAG ".counter"), &counter));
  must(proxy_define_metric(1, S(TAG ".gauge"), &gauge));
  must(proxy_define_metric(2, S(TAG ".histogram"), &histogram));
#ifdef __wasi__
  printf("%s configured\n", TAG);
  fflush(stdout);
  fprintf(stderr, "%s complains\n", TAG);
#elif defined TINYGO
  print(TAG " configured");
#endif
  return 1;
}

CALLBACK(void, proxy_on_tick)(u32 id) {
  if (id != root_id) __builtin_trap();
  for (;;) {
    char *value = 0;
    size_t size = 0;
    u32 cas = 0;
    u32 status = proxy_get_shared_data(S(TAG ".ticks"), &value, &size, &cas);
    char *old = status == OK ? owned(value, size) : owned(0, 0), text[24];
    uint64_t n = 0;
    for (char *digit = old; *digit != 0; digit++) n = n * 10 + *digit - '0';
    free(old);
    number(text, n + 1);
    status = proxy_set_shared_data(S(TAG ".ticks"), S(text), cas);
    if (status == OK) return;
    if (status != CAS_MISMATCH) __builtin_trap();
  }
}

CALLBACK(void, proxy_on_queue_ready)(u32 id, u32 token) {
  char *value = 0;
  size_t size = 0;
  if (id != root_id || token != queue) __builtin_trap();
  if (proxy_dequeue_shared_queue(token, &value, &size) != OK) return;
  must(proxy_set_shared_data(S(TAG ".queued"), value, size, 0));
}

/* ---- calls --------------------------------------------------------------------------------- */

static u32 call(struct stream *one, text cluster, text path) {
  char head[512];
  size_t size = pairs(head, (text[]){":method", "POST", ":path", path, ":authority", "side", 0});
  return proxy_http_call(S(cluster), head, size, S("question"), 0, 0, 60000, &one->token);
}

static u32 ask(struct stream *one, text method) {
  return proxy_grpc_call(S("side-grpc"), S("errand.Side"), S(method), 0, 0, S("ask"), 60000, &one->token);
}

static struct stream *caller(u32 id, u32 token) {
  if (id != root_id) __builtin_trap();
  for (struct stream *one = streams; one != 0; one = one->next)
    if (one->token == token) {
      must(proxy_set_effective_context(one->id));
      return one;
    }
  __builtin_trap();
}

CALLBACK(void, proxy_on_http_call_response)(u32 id, u32 token, u32 headers, u32 size, u32 trailers) {
  struct stream *one = caller(id, token);
  (void)trailers;
  char *body = buffer(CALL_BODY);
  if (headers == 0 || strlen(body) != size) __builtin_trap();
  char *to = one->text + strlen(one->text);
  to = add(to, header(CALL_HEADERS, ":status"));
  to = add(to, " ");
  to = add(to, body);
  if (++one->calls < 2) {
    add(to, " ");
    must(call(one, "side", "/second"));
    return;
  }
  replace(REQUEST_HEADERS, "x-call", one->text);
  must(proxy_continue_stream(0));
}

CALLBACK(void, proxy_on_grpc_receive)(u32 id, u32 token, u32 size) {
  struct stream *one = caller(id, token);
  char *message = buffer(GRPC_MESSAGE);
  if (strlen(message) != size) __builtin_trap();
  one->token = 0;
  replace(REQUEST_HEADERS, "x-grpc", message);
  must(proxy_continue_stream(0));
}

CALLBACK(void, proxy_on_grpc_close)(u32 id, u32 token, u32 status) {
  char value[32];
  caller(id, token)->token = 0;
  number(add(value, "status "), status);
  replace(REQUEST_HEADERS, "x-grpc", value);
  must(proxy_continue_stream(0));
}

/* ---- errands ------------------------------------------------------------------------------- */

static void shared(text key, text name) {
  char *value = 0;
  size_t size = 0;
  u32 cas;
  u32 status = proxy_get_shared_data(S(key), &value, &size, &cas);
  replace(REQUEST_HEADERS, name, status == OK ? owned(value, size) : "none");
}

static void properties(void) {
  char value[256], *to = value, *own;
  must(proxy_set_property(S("errand.mark"), S(TAG)));
  to = add(to, property("request\0path", 12));
  to = add(add(to, "|"), property(S("plugin_root_id")));
  uint64_t port = 0;
  char *bytes = property("source\0port", 11);
  memcpy(&port, bytes, 8);
  to = number(add(to, "|"), port);
  own = property(S("errand.mark"));
  to = add(add(to, "|"), own == 0 ? "none" : own);
  add(add(to, "|"), property("no\0such", 7) == 0 ? "none" : "some");
  replace(REQUEST_HEADERS, "x-properties", value);
}

static void metrics(void) {
  uint64_t count = 0, level = 0;
  char value[64];
  must(proxy_increment_metric(counter, 5));
  must(proxy_record_metric(gauge, 7));
  must(proxy_increment_metric(gauge, -2));
  must(proxy_record_metric(histogram, 3));
  must(proxy_get_metric(counter, &count));
  must(proxy_get_metric(gauge, &level));
  number(add(number(value, count), " "), level);
  replace(REQUEST_HEADERS, "x-metrics", value);
}

static void all_pairs(void) {
  char *given = 0, *list[130];
  size_t size = 0;
  must(proxy_get_header_map_pairs(REQUEST_HEADERS, &given, &size));
  u32 count, length;
  memcpy(&count, given, 4);
  char *at = given + 4 + count * 8;
  for (u32 i = 0; i < 2 * count; i++) {
    list[i] = at;
    memcpy(&length, given + 4 + i * 4, 4);
    at += length + 1;
  }
  char value[16], *out = malloc(size + 64);
  number(value, count);
  list[2 * count] = "x-pairs";
  list[2 * count + 1] = value;
  list[2 * count + 2] = 0;
  must(proxy_set_header_map_pairs(REQUEST_HEADERS, out, pairs(out, (text *)list)));
}

static u32 reply(void) {
  char head[64];
  size_t size = pairs(head, (text[]){"x-reply", TAG, 0});
  must(proxy_send_local_response(418, S("errand"), S(TAG " is a teapot"), head, size, (u32)-1));
  return PAUSE;
}

static void edit(u32 map, text added, text replaced, text removed) {
  must(proxy_add_header_map_value(map, S(added), S(TAG)));
  replace(map, replaced, "new");
  must(proxy_remove_header_map_value(map, S(removed)));
}

CALLBACK(u32, proxy_on_request_headers)(u32 id, u32 count, u32 end) {
  struct stream *one = stream(id);
  char value[512] = "";
  (void)count, (void)end;
  text errand = one->errand = header(REQUEST_HEADERS, "x-do");
  if (errand == 0) errand = one->errand = "";
  if (strcmp(errand, "headers") == 0) edit(REQUEST_HEADERS, "x-added", "x-replace", "x-remove");
  if (strcmp(errand, "pairs") == 0) all_pairs();
  if (strcmp(errand, "body") == 0 || strcmp(errand, "edges") == 0)
    must(proxy_remove_header_map_value(REQUEST_HEADERS, S("content-length")));
  if (strcmp(errand, "reply") == 0) return reply();
  if (strcmp(errand, "call") == 0) {
    must(call(one, "side", "/first"));
    return PAUSE;
  }
  if (strcmp(errand, "call-nowhere") == 0 && call(one, "nowhere", "/") == BAD_ARGUMENT)
    replace(REQUEST_HEADERS, "x-call", "refused");
  if (strcmp(errand, "grpc") == 0 || strcmp(errand, "grpc-fails") == 0) {
    must(ask(one, strcmp(errand, "grpc") == 0 ? "Ask" : "Fail"));
    return PAUSE;
  }
  if (strcmp(errand, "ticks") == 0) shared(TAG ".ticks", "x-ticks");
  if (strcmp(errand, "queued") == 0) shared(TAG ".queued", "x-queued");
  if (strcmp(errand, "queue") == 0) must(proxy_enqueue_shared_queue(queue, S(header(REQUEST_HEADERS, "x-in"))));
  if (strcmp(errand, "metrics") == 0) metrics();
  if (strcmp(errand, "properties") == 0) properties();
  if (strcmp(errand, "config") == 0) {
    add(add(add(value, config), "|"), vm_config);
    replace(REQUEST_HEADERS, "x-config", value);
  }
  if (strcmp(errand, "library") == 0) {
    library(value);
    replace(REQUEST_HEADERS, "x-library", value);
  }
  if (strcmp(errand, "log") == 0)
    for (u32 level = 0; level < 6; level++) {
      number(add(value, TAG " level "), level);
      say(level, value);
    }
  if (strcmp(errand, "trap") == 0) __builtin_trap();
  return CONTINUE;
}

CALLBACK(u32, proxy_on_response_headers)(u32 id, u32 count, u32 end) {
  text errand = stream(id)->errand;
  (void)count, (void)end;
  if (strcmp(errand, "headers") == 0) edit(RESPONSE_HEADERS, "x-out", "x-server", "x-secret");
  if (strcmp(errand, "body") == 0 || strcmp(errand, "edges") == 0)
    must(proxy_remove_header_map_value(RESPONSE_HEADERS, S("content-length")));
  return CONTINUE;
}

/* Waits for the end, then puts another text in the body's place, or something at both of its ends. */
static u32 rewrite(struct stream *one, u32 type, text verb, size_t size, u32 end) {
  int whole = strcmp(one->errand, "body") == 0;
  if (!whole && strcmp(one->errand, "edges") != 0) return CONTINUE;
  if (!end) return PAUSE;
  if (whole) {
    char *body = buffer(type), *value = malloc(size + 64);
    add(add(add(value, TAG), verb), body);
    must(proxy_set_buffer_bytes(type, 0, size, S(value)));
  } else {
    size_t now;
    u32 flags;
    must(proxy_set_buffer_bytes(type, 0, 0, S("[")));
    must(proxy_get_buffer_status(type, &now, &flags));
    must(proxy_set_buffer_bytes(type, now, 0, S("]")));
  }
  return CONTINUE;
}

CALLBACK(u32, proxy_on_request_body)(u32 id, u32 size, u32 end) {
  return rewrite(stream(id), REQUEST_BODY, " got ", size, end);
}
CALLBACK(u32, proxy_on_response_body)(u32 id, u32 size, u32 end) {
  return rewrite(stream(id), RESPONSE_BODY, " sent ", size, end);
}

CALLBACK(u32, proxy_on_done)(u32 id) {
  (void)id;
  return 1;
}

CALLBACK(void, proxy_on_log)(u32 id) {
  char value[128];
  uint64_t code = 0;
  char *bytes = property("response\0code", 13);
  if (bytes != 0) memcpy(&code, bytes, 8);
  text errand = stream(id)->errand;
  if (errand == 0) return;
  add(add(number(add(value, TAG " done "), code), " "), errand);
  say(2, value);
}

CALLBACK(void, proxy_on_delete)(u32 id) {
  for (struct stream **one = &streams; *one != 0; one = &(*one)->next)
    if ((*one)->id == id) {
      struct stream *gone = *one;
      *one = gone->next;
      free(gone);
      return;
    }
}

#ifdef COMMAND
/* A command's main returns at once: its callbacks come later. */
int main(int count, char **arguments) {
  (void)arguments;
  printf("%s main %d\n", TAG, count);
  return 0;
}
#endif
