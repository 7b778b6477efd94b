/* The wire filter in C; test/languages/wire.test.ts says what it does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../c/abi.h"

#define TAG "c"
#define S(s) (s), strlen(s)
enum { TO_UPSTREAM = 2, INFO = 2 };

CALLBACK(void, proxy_abi_version_0_2_1)(void) {}
CALLBACK(void *, proxy_on_memory_allocate)(size_t size) { return malloc(size); }

static void must(u32 status) {
  if (status != OK) __builtin_trap();
}

static void say(text what, int number) {
  char line[64];
  snprintf(line, sizeof line, number < 0 ? TAG " %s" : TAG " %s %d", what, number);
  must(proxy_log(INFO, S(line)));
}

/* The connection that waits for the answer to each call. */
static u32 waiting[64];

CALLBACK(u32, proxy_on_new_connection)(u32 id) {
  (void)id;
  say("opens", -1);
  return CONTINUE;
}

static void set(text value) { must(proxy_set_buffer_bytes(DOWNSTREAM, 0, 0xffffffff, S(value))); }

static void call(u32 id) {
  text fields[] = {":method", "POST", ":path", "/wire", ":authority", "side"};
  char head[256] = {3};
  char *at = head + 4 + 3 * 8;
  for (int n = 0; n < 6; n++) {
    u32 size = strlen(fields[n]);
    memcpy(head + 4 + 4 * n, &size, 4);
    memcpy(at, fields[n], size + 1);
    at += size + 1;
  }
  u32 token;
  must(proxy_http_call(S("side"), head, at - head, S("question"), "\0\0\0\0", 4, 60000, &token));
  waiting[token % 64] = id;
}

CALLBACK(u32, proxy_on_downstream_data)(u32 id, size_t size, u32 end) {
  char *bytes = 0;
  char line[128];
  if (size == 0) return CONTINUE;
  must(proxy_get_buffer_bytes(DOWNSTREAM, 0, size, &bytes, &size));
  int whole = bytes[size - 1] == '\n';
  int length = size;
  snprintf(line, sizeof line, "%.*s", length, bytes);
  free(bytes);
  if (!whole) return end ? CONTINUE : PAUSE;
  if (strcmp(line, "call\n") == 0) {
    call(id);
    return PAUSE;
  }
  if (strcmp(line, "close\n") == 0) must(proxy_close_stream(TO_UPSTREAM));
  else if (strcmp(line, "who\n") == 0) {
    char *value = 0;
    must(proxy_get_property("source\0port", 11, &value, &size));
    snprintf(line, sizeof line, "who %lld\n", *(long long *)value);
    free(value);
    set(line);
  } else must(proxy_set_buffer_bytes(DOWNSTREAM, 0, 0, S(TAG "> ")));
  return CONTINUE;
}

CALLBACK(void, proxy_on_http_call_response)(u32 id, u32 token, u32 headers, size_t size, u32 trailers) {
  (void)id, (void)headers, (void)trailers;
  char *body = 0;
  char line[128];
  must(proxy_get_buffer_bytes(CALL_BODY, 0, size, &body, &size));
  snprintf(line, sizeof line, "call %.*s\n", (int)size, body);
  free(body);
  must(proxy_set_effective_context(waiting[token % 64]));
  set(line);
  must(proxy_continue_stream(TO_UPSTREAM));
}

CALLBACK(u32, proxy_on_upstream_data)(u32 id, size_t size, u32 end) {
  (void)id, (void)end;
  if (size > 0) must(proxy_set_buffer_bytes(UPSTREAM, 0, 0, S(TAG "< ")));
  return CONTINUE;
}
CALLBACK(void, proxy_on_upstream_connection_close)(u32 id, u32 peer) {
  (void)id;
  say("upstream", peer);
}
CALLBACK(void, proxy_on_downstream_connection_close)(u32 id, u32 peer) {
  (void)id;
  say("closed", peer);
}
CALLBACK(void, proxy_on_log)(u32 id) {
  (void)id;
  say("ends", -1);
}
