/*
 * Work of the kinds that filters do with bodies, for the benchmark of what fuel costs: no host is called. `prepare` writes
 * 22 KB of JSON; each of the others goes through it once.
 */
typedef unsigned char byte;
typedef unsigned int u32;

#define EXPORT(name) __attribute__((export_name(#name))) name

static byte body[65536];
static u32 length;

void EXPORT(proxy_abi_version_0_2_1)(void) {}
void *EXPORT(malloc)(unsigned long size) {
  (void)size;
  return body;
}

static void put(const char *text) {
  while (*text != 0) body[length++] = (byte)*text++;
}
void EXPORT(prepare)(void) {
  length = 0;
  put("[");
  for (int n = 0; n < 200; n++) {
    if (n > 0) put(",");
    put("{\"id\": ");
    body[length++] = (byte)('1' + n % 9);
    body[length++] = (byte)('0' + n / 10 % 10);
    put(", \"name\": \"item number \\\"x\\\" of the list\", \"tags\": [\"a\", \"bc\", true, null], \"price\": 12.50e1}");
  }
  put("]");
}

/* ---- JSON: is it valid, and how many values does it hold -------------------------------------- */

static u32 at, values;
static int value(int depth);

static void space(void) {
  while (at < length && (body[at] == ' ' || body[at] == '\n' || body[at] == '\t' || body[at] == '\r')) at++;
}
static void digits(void) {
  while (body[at] >= '0' && body[at] <= '9') at++;
}
static int string(void) {
  if (body[at++] != '"') return 0;
  while (at < length) {
    byte c = body[at++];
    if (c == '"') return 1;
    if (c == '\\') at++;
    else if (c < 32) return 0;
  }
  return 0;
}
static int number(void) {
  u32 from = at;
  if (body[at] == '-') at++;
  digits();
  if (body[at] == '.') at++, digits();
  if ((body[at] | 32) == 'e') {
    at++;
    if (body[at] == '+' || body[at] == '-') at++;
    digits();
  }
  return at > from;
}
static int word(const char *expected) {
  while (*expected != 0)
    if (body[at++] != *expected++) return 0;
  return 1;
}
static int members(int depth, byte close, int keys) {
  at++;
  space();
  if (body[at] == close) return ++at, 1;
  for (;;) {
    space();
    if (keys) {
      if (!string()) return 0;
      space();
      if (body[at++] != ':') return 0;
    }
    if (!value(depth + 1)) return 0;
    space();
    byte c = body[at++];
    if (c == close) return 1;
    if (c != ',') return 0;
  }
}
static int value(int depth) {
  if (depth > 64) return 0;
  space();
  values++;
  switch (body[at]) {
  case '{':
    return members(depth, '}', 1);
  case '[':
    return members(depth, ']', 0);
  case '"':
    return string();
  case 't':
    return word("true");
  case 'f':
    return word("false");
  case 'n':
    return word("null");
  default:
    return number();
  }
}
u32 EXPORT(json)(void) {
  at = values = 0;
  return value(0) ? values : 0;
}

/* ---- patterns: a matcher that goes back and tries again, at every place ------------------------ */

static int here(const char *pattern, u32 from);
static int one(char pattern, byte c) {
  return pattern == '.' || pattern == c || (pattern == 'd' && c >= '0' && c <= '9');
}
static int star(char c, const char *rest, u32 from) {
  do {
    if (here(rest, from)) return 1;
  } while (from < length && one(c, body[from++]));
  return 0;
}
static int here(const char *pattern, u32 from) {
  if (*pattern == 0) return 1;
  if (pattern[1] == '*') return star(pattern[0], pattern + 2, from);
  if (from < length && one(*pattern, body[from])) return here(pattern + 1, from + 1);
  return 0;
}
u32 EXPORT(pattern)(void) {
  u32 found = 0;
  for (u32 from = 0; from < length; from++) found += here("d*d.dde", from) + here("na.e\": \"it*.m", from);
  return found;
}

/* ---- words: cut out, hashed and counted -------------------------------------------------------- */

static u32 table[1024];
u32 EXPORT(words)(void) {
  u32 hash = 0, size = 0, most = 0;
  for (int n = 0; n < 1024; n++) table[n] = 0;
  for (u32 from = 0; from < length; from++) {
    byte c = body[from] | 32;
    if (c >= 'a' && c <= 'z') {
      hash = hash * 31 + c;
      size++;
    } else {
      if (size > 0) table[(hash ^ hash >> 10) & 1023]++;
      hash = size = 0;
    }
  }
  for (int n = 0; n < 1024; n++)
    if (table[n] > most) most = table[n];
  return most;
}
