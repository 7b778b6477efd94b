// The errand filter in C++ (test/languages/errands.ts says what an errand is), laid out as the C++ SDK's filters are:
// classes of contexts, factories registered by static constructors, the factory found by the property plugin_root_id,
// failed checks ending in abort. Its imports are nearly the whole ABI, and it exports every callback.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../c/abi.h"

// Emscripten's modules tell the host that memory has grown.
HOST(void, emscripten_notify_memory_growth)(u32 index);

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;
using std::string;
using std::string_view;

// The SDK's CHECK: what is not Ok ends the module.
void check(u32 status, const char *what) {
  if (status == OK) return;
  fprintf(stderr, "%s answers %u\n", what, status);
  abort();
}
#define CHECK(call) check(call, #call)

// What the host gives belongs to the guest, by malloc.
string take(char *bytes, size_t size) {
  string text(bytes == nullptr ? "" : bytes, size);
  free(bytes);
  return text;
}

string encode(const Pairs &pairs) {
  string out(4 + 8 * pairs.size(), '\0');
  u32 count = pairs.size();
  memcpy(out.data(), &count, 4);
  char *sizes = out.data() + 4;
  for (auto &[name, value] : pairs) {
    u32 lengths[2] = {static_cast<u32>(name.size()), static_cast<u32>(value.size())};
    memcpy(sizes, lengths, 8);
    sizes += 8;
  }
  for (auto &[name, value] : pairs) out += name + '\0' + value + '\0';
  return out;
}

Pairs decode(string_view bytes) {
  Pairs pairs;
  if (bytes.empty()) return pairs;
  u32 count;
  memcpy(&count, bytes.data(), 4);
  const char *sizes = bytes.data() + 4, *at = sizes + 8 * count;
  for (u32 n = 0; n < count; n++, sizes += 8) {
    u32 lengths[2];
    memcpy(lengths, sizes, 8);
    pairs.emplace_back(string(at, lengths[0]), string(at + lengths[0] + 1, lengths[1]));
    at += lengths[0] + lengths[1] + 2;
  }
  return pairs;
}

#define V(view) (view).data(), (view).size()

void log(u32 level, string_view text) { CHECK(proxy_log(level, V(text))); }

// As the SDK's: a missing field is an empty text, whether the host says Ok (0.1.0) or NotFound.
string header(u32 map, string_view key) {
  char *value = nullptr;
  size_t size = 0;
  if (proxy_get_header_map_value(map, V(key), &value, &size) != OK) return "";
  return take(value, size);
}
void replace(u32 map, string_view key, string_view value) {
  CHECK(proxy_replace_header_map_value(map, V(key), V(value)));
}
Pairs allPairs(u32 map) {
  char *bytes = nullptr;
  size_t size = 0;
  CHECK(proxy_get_header_map_pairs(map, &bytes, &size));
  return decode(take(bytes, size));
}

string buffer(u32 type, size_t start = 0, size_t size = SIZE_MAX) {
  char *bytes = nullptr;
  size_t got = 0;
  return proxy_get_buffer_bytes(type, start, size, &bytes, &got) == OK ? take(bytes, got) : "";
}

std::optional<string> property(std::initializer_list<string_view> path) {
  string joined;
  for (auto part : path) joined += string(joined.empty() ? "" : string(1, '\0')) + string(part);
  char *value = nullptr;
  size_t size = 0;
  if (proxy_get_property(V(joined), &value, &size) != OK) return {};
  return take(value, size);
}

std::optional<string> shared(string_view key, u32 *cas) {
  char *value = nullptr;
  size_t size = 0;
  if (proxy_get_shared_data(V(key), &value, &size, cas) != OK) return {};
  return take(value, size);
}

struct Metric {
  u32 id = 0;
  void define(u32 kind, string_view name) { CHECK(proxy_define_metric(kind, V(name), &id)); }
  uint64_t get() const {
    uint64_t value = 0;
    CHECK(proxy_get_metric(id, &value));
    return value;
  }
};

void resume() {
#ifdef ABI_0_1_0
  CHECK(proxy_continue_request());
#else
  CHECK(proxy_continue_stream(0));
#endif
}

class Context {
public:
  explicit Context(u32 id) : id_(id) {}
  virtual ~Context() = default;
  u32 id() const { return id_; }
  virtual bool onDone() { return true; }
  virtual void onLog() {}

private:
  u32 id_;
};

class Root : public Context {
public:
  using Context::Context;
  using Answer = std::function<void(u32, u32)>;

  virtual bool onStart(size_t) { return true; }
  virtual bool onConfigure(size_t) { return true; }
  virtual void onTick() {}
  virtual void onQueueReady(u32) {}
  virtual std::unique_ptr<Context> createStream(u32 id) = 0;

  // Closures by token; each is called with the stream's context in effect.
  std::map<u32, std::pair<u32, Answer>> calls;

  void answer(u32 token, u32 a, u32 b) {
    auto found = calls.find(token);
    if (found == calls.end()) return;
    auto [stream, callback] = std::move(found->second);
    calls.erase(found);
    if (proxy_set_effective_context(stream) != OK) return;
    callback(a, b);
  }
};

using Factory = std::function<std::unique_ptr<Root>(u32)>;

// Filled by static constructors, which the start function has to run before anything else.
std::map<string, Factory, std::less<>> *factories;
struct Register {
  Register(string_view rootId, Factory factory) {
    if (factories == nullptr) factories = new std::map<string, Factory, std::less<>>;
    factories->emplace(rootId, std::move(factory));
  }
};

std::map<u32, std::unique_ptr<Context>> contexts;
std::map<u32, Root *> roots;

template <class T> T *context(u32 id) {
  auto found = contexts.find(id);
  if (found == contexts.end()) {
    fprintf(stderr, "no context %u\n", id);
    abort();
  }
  return static_cast<T *>(found->second.get());
}

class Errand;

class ErrandRoot : public Root {
public:
  using Root::Root;
  string config, vmConfig;
  u32 queue = 0;
  Metric counter, gauge, histogram;

  bool onStart(size_t size) override {
    vmConfig = configuration(VM_CONFIG);
    return vmConfig.size() == size;
  }
  bool onConfigure(size_t size) override {
    config = configuration(PLUGIN_CONFIG);
    if (config == "refuse" || config.size() != size) return false;
    CHECK(proxy_set_tick_period_milliseconds(20));
    CHECK(proxy_register_shared_queue(V(string_view(TAG)), &queue));
    counter.define(0, TAG ".counter");
    gauge.define(1, TAG ".gauge");
    histogram.define(2, TAG ".histogram");
    printf("%s configured\n", TAG);
    fflush(stdout);
    fprintf(stderr, "%s complains\n", TAG);
    return true;
  }
  void onTick() override {
    for (string_view key = TAG ".ticks";;) {
      u32 cas = 0;
      auto value = std::to_string(atoi(shared(key, &cas).value_or("0").c_str()) + 1);
      u32 status = proxy_set_shared_data(V(key), V(value), cas);
      if (status == OK) return;
      if (status != CAS_MISMATCH) CHECK(status);
    }
  }
  void onQueueReady(u32 token) override {
    char *bytes = nullptr;
    size_t size = 0;
    if (proxy_dequeue_shared_queue(token, &bytes, &size) != OK) return;
    auto value = take(bytes, size);
    CHECK(proxy_set_shared_data(V(string_view(TAG ".queued")), V(value), 0));
  }
  std::unique_ptr<Context> createStream(u32 id) override;

private:
  static string configuration([[maybe_unused]] u32 type) {
#ifdef ABI_0_1_0
    char *bytes = nullptr;
    size_t size = 0;
    CHECK(proxy_get_configuration(&bytes, &size));
    return take(bytes, size);
#else
    return buffer(type);
#endif
  }
};

class Errand : public Context {
public:
  Errand(u32 id, ErrandRoot *root) : Context(id), root_(root) {}

  u32 onRequestHeaders() {
    errand_ = header(REQUEST_HEADERS, "x-do");
    static const std::map<string_view, u32 (Errand::*)()> errands = {
        {"headers", &Errand::headers}, {"pairs", &Errand::pairs},     {"reply", &Errand::reply},
        {"call", &Errand::call},       {"call-nowhere", &Errand::nowhere}, {"grpc", &Errand::grpc},
        {"grpc-fails", &Errand::grpc}, {"ticks", &Errand::ticks},     {"queue", &Errand::enqueue},
        {"queued", &Errand::queued},   {"metrics", &Errand::metrics}, {"properties", &Errand::properties},
        {"config", &Errand::config},   {"log", &Errand::levels},      {"body", &Errand::lengthless},
        {"edges", &Errand::lengthless}, {"library", &Errand::library}, {"trap", &Errand::trap},
    };
    auto found = errands.find(errand_);
    return found == errands.end() ? CONTINUE : (this->*found->second)();
  }

  u32 onResponseHeaders() {
    if (errand_ == "headers") edit(RESPONSE_HEADERS, "x-out", "x-server", "x-secret");
    if (rewrites()) CHECK(proxy_remove_header_map_value(RESPONSE_HEADERS, V(string_view("content-length"))));
    return CONTINUE;
  }

  u32 onBody(u32 type, string_view verb, size_t size, bool end) {
    if (!rewrites()) return CONTINUE;
    if (!end) return PAUSE;
    if (errand_ == "body") {
      auto text = string(TAG) + string(verb) + buffer(type, 0, size);
      CHECK(proxy_set_buffer_bytes(type, 0, size, V(text)));
    } else {
      CHECK(proxy_set_buffer_bytes(type, 0, 0, "[", 1));
      CHECK(proxy_set_buffer_bytes(type, INT32_MAX, 0, "]", 1));
    }
    return CONTINUE;
  }

  void onLog() override {
    uint64_t code = 0;
    auto bytes = property({"response", "code"});
    if (bytes && bytes->size() == 8) memcpy(&code, bytes->data(), 8);
    log(2, string(TAG) + " done " + std::to_string(code) + " " + errand_);
  }

private:
  ErrandRoot *root_;
  string errand_, told_;

  bool rewrites() const { return errand_ == "body" || errand_ == "edges"; }

  static void edit(u32 map, string_view added, string_view replaced, string_view removed) {
    CHECK(proxy_add_header_map_value(map, V(added), V(string_view(TAG))));
    replace(map, replaced, "new");
    CHECK(proxy_remove_header_map_value(map, V(removed)));
  }
  u32 headers() {
    edit(REQUEST_HEADERS, "x-added", "x-replace", "x-remove");
    if (!header(REQUEST_HEADERS, "x-remove").empty()) abort();
    return CONTINUE;
  }
  u32 pairs() {
    auto all = allPairs(REQUEST_HEADERS);
    all.emplace_back("x-pairs", std::to_string(all.size()));
    auto bytes = encode(all);
    CHECK(proxy_set_header_map_pairs(REQUEST_HEADERS, V(bytes)));
    return CONTINUE;
  }
  u32 lengthless() {
    CHECK(proxy_remove_header_map_value(REQUEST_HEADERS, V(string_view("content-length"))));
    return CONTINUE;
  }
  u32 reply() {
    auto head = encode({{"x-reply", TAG}});
    string body = string(TAG) + " is a teapot";
    CHECK(proxy_send_local_response(418, nullptr, 0, V(body), V(head), -1));
    return PAUSE;
  }
  u32 post(string_view cluster, const string &path, Root::Answer answer) {
    auto head = encode({{":method", "POST"}, {":path", path}, {":authority", "side"}});
    u32 token = 0;
    u32 status = proxy_http_call(V(cluster), V(head), "question", 8, nullptr, 0, 60000, &token);
    if (status == OK) root_->calls[token] = {id(), std::move(answer)};
    return status;
  }
  void tell(size_t size) {
    told_ += header(CALL_HEADERS, ":status") + " " + buffer(CALL_BODY, 0, size);
    // The SDK's map of answers grows while this one is running.
  }
  u32 call() {
    CHECK(post("side", "/first", [this](u32, u32 size) {
      tell(size);
      told_ += " ";
      CHECK(post("side", "/second", [this](u32, u32 size) {
        tell(size);
        replace(REQUEST_HEADERS, "x-call", told_);
        resume();
      }));
    }));
    return PAUSE;
  }
  u32 nowhere() {
    if (post("nowhere", "/", nullptr) == BAD_ARGUMENT) replace(REQUEST_HEADERS, "x-call", "refused");
    return CONTINUE;
  }
  u32 grpc() {
    u32 token = 0;
    string_view target = "side-grpc", service = "errand.Side", method = errand_ == "grpc" ? "Ask" : "Fail";
    CHECK(proxy_grpc_call(V(target), V(service), V(method), nullptr, 0, "ask", 3, 60000, &token));
    root_->calls[token] = {id(), [](u32 good, u32 number) {
                             auto text = good ? buffer(GRPC_MESSAGE, 0, number) : "status " + std::to_string(number);
                             replace(REQUEST_HEADERS, "x-grpc", text);
                             resume();
                           }};
    return PAUSE;
  }
  u32 ticks() { return tellShared(TAG ".ticks", "x-ticks"); }
  u32 queued() { return tellShared(TAG ".queued", "x-queued"); }
  static u32 tellShared(string_view key, string_view name) {
    u32 cas;
    replace(REQUEST_HEADERS, name, shared(key, &cas).value_or("none"));
    return CONTINUE;
  }
  u32 enqueue() {
    u32 token = 0;
    CHECK(proxy_resolve_shared_queue(nullptr, 0, V(string_view(TAG)), &token));
    auto value = header(REQUEST_HEADERS, "x-in");
    CHECK(proxy_enqueue_shared_queue(token, V(value)));
    return CONTINUE;
  }
  u32 metrics() {
    CHECK(proxy_increment_metric(root_->counter.id, 5));
    CHECK(proxy_record_metric(root_->gauge.id, 7));
    CHECK(proxy_increment_metric(root_->gauge.id, -2));
    CHECK(proxy_record_metric(root_->histogram.id, 3));
    replace(REQUEST_HEADERS, "x-metrics",
            std::to_string(root_->counter.get()) + " " + std::to_string(root_->gauge.get()));
    return CONTINUE;
  }
  u32 properties() {
    CHECK(proxy_set_property(V(string_view("errand.mark")), V(string_view(TAG))));
    uint64_t port = 0;
    memcpy(&port, property({"source", "port"}).value().data(), 8);
    replace(REQUEST_HEADERS, "x-properties",
            property({"request", "path"}).value() + "|" + property({"plugin_root_id"}).value() + "|" +
                std::to_string(port) + "|" + property({"errand.mark"}).value_or("none") + "|" +
                property({"no", "such"}).value_or("none"));
    return CONTINUE;
  }
  u32 config() {
    replace(REQUEST_HEADERS, "x-config", root_->config + "|" + root_->vmConfig);
    return CONTINUE;
  }
  u32 levels() {
    for (u32 level = 0; level < 6; level++) log(level, string(TAG) + " level " + std::to_string(level));
    return CONTINUE;
  }
  u32 library() {
    const char *value = getenv("ERRAND");
    uint64_t now = 0;
    CHECK(proxy_get_current_time_nanoseconds(&now));
    replace(REQUEST_HEADERS, "x-library", string(value == nullptr ? "none" : value) + " 1 " + (now > 0 ? "fine" : "-"));
    return CONTINUE;
  }
  [[noreturn]] u32 trap() { abort(); }
};

std::unique_ptr<Context> ErrandRoot::createStream(u32 id) { return std::make_unique<Errand>(id, this); }

Register registration("errand", [](u32 id) { return std::make_unique<ErrandRoot>(id); });
Register another("another", [](u32) -> std::unique_ptr<Root> { abort(); });

} // namespace

// ---- calls in --------------------------------------------------------------------------------

#ifdef ABI_0_1_0
CALLBACK(void, proxy_abi_version_0_1_0)() {}
#else
CALLBACK(void, proxy_abi_version_0_2_1)() {}
#endif
#ifdef START
// As emscripten's programs start: static constructors, and no end.
extern "C" void __wasm_call_ctors();
CALLBACK(void, _start)() { __wasm_call_ctors(); }
#endif

CALLBACK(void, proxy_on_context_create)(u32 id, u32 parent) {
  if (contexts.count(id) != 0) abort();
  if (parent != 0) {
    contexts[id] = roots.at(parent)->createStream(id);
    return;
  }
  emscripten_notify_memory_growth(0);
  auto made = factories->at(property({"plugin_root_id"}).value())(id);
  roots[id] = made.get();
  contexts[id] = std::move(made);
}
CALLBACK(u32, proxy_on_vm_start)(u32 id, u32 size) { return roots.at(id)->onStart(size); }
CALLBACK(u32, proxy_validate_configuration)(u32, u32) { abort(); }
CALLBACK(u32, proxy_on_configure)(u32 id, u32 size) { return roots.at(id)->onConfigure(size); }
CALLBACK(void, proxy_on_tick)(u32 id) { roots.at(id)->onTick(); }
CALLBACK(void, proxy_on_queue_ready)(u32 id, u32 token) { roots.at(id)->onQueueReady(token); }
CALLBACK(u32, proxy_on_new_connection)(u32) { return CONTINUE; }
CALLBACK(u32, proxy_on_downstream_data)(u32, u32, u32) { return CONTINUE; }
CALLBACK(u32, proxy_on_upstream_data)(u32, u32, u32) { return CONTINUE; }
CALLBACK(void, proxy_on_downstream_connection_close)(u32, u32) {}
CALLBACK(void, proxy_on_upstream_connection_close)(u32, u32) {}
#ifdef ABI_0_1_0
CALLBACK(u32, proxy_on_request_headers)(u32 id, u32) { return context<Errand>(id)->onRequestHeaders(); }
CALLBACK(u32, proxy_on_response_headers)(u32 id, u32) { return context<Errand>(id)->onResponseHeaders(); }
#else
CALLBACK(u32, proxy_on_request_headers)(u32 id, u32, u32) { return context<Errand>(id)->onRequestHeaders(); }
CALLBACK(u32, proxy_on_response_headers)(u32 id, u32, u32) { return context<Errand>(id)->onResponseHeaders(); }
CALLBACK(void, proxy_on_foreign_function)(u32, u32, u32) {}
#endif
CALLBACK(u32, proxy_on_request_body)(u32 id, u32 size, u32 end) {
  return context<Errand>(id)->onBody(REQUEST_BODY, " got ", size, end != 0);
}
CALLBACK(u32, proxy_on_response_body)(u32 id, u32 size, u32 end) {
  return context<Errand>(id)->onBody(RESPONSE_BODY, " sent ", size, end != 0);
}
CALLBACK(u32, proxy_on_request_trailers)(u32, u32) { return CONTINUE; }
CALLBACK(u32, proxy_on_response_trailers)(u32, u32) { return CONTINUE; }
CALLBACK(u32, proxy_on_request_metadata)(u32, u32) { abort(); }
CALLBACK(u32, proxy_on_response_metadata)(u32, u32) { abort(); }
CALLBACK(void, proxy_on_http_call_response)(u32 id, u32 token, u32 headers, u32 size, u32) {
  roots.at(id)->answer(token, headers, size);
}
CALLBACK(void, proxy_on_grpc_receive_initial_metadata)(u32, u32, u32) {}
CALLBACK(void, proxy_on_grpc_receive)(u32 id, u32 token, u32 size) { roots.at(id)->answer(token, 1, size); }
CALLBACK(void, proxy_on_grpc_receive_trailing_metadata)(u32, u32, u32) {}
CALLBACK(void, proxy_on_grpc_close)(u32 id, u32 token, u32 status) { roots.at(id)->answer(token, 0, status); }
CALLBACK(u32, proxy_on_done)(u32 id) { return context<Context>(id)->onDone(); }
CALLBACK(void, proxy_on_log)(u32 id) { context<Context>(id)->onLog(); }
CALLBACK(void, proxy_on_delete)(u32 id) { contexts.erase(id); }

// Referenced as the SDK's table of externs does, so that the whole ABI stands in the import section.
extern "C" __attribute__((export_name("_every_extern"), used)) size_t every_extern(size_t n) {
  static const void *const all[] = {
      (void *)proxy_get_current_time_nanoseconds, (void *)proxy_done, (void *)proxy_get_status,
      (void *)proxy_get_header_map_size, (void *)proxy_get_buffer_status, (void *)proxy_grpc_stream,
      (void *)proxy_grpc_send, (void *)proxy_grpc_cancel, (void *)proxy_grpc_close,
      (void *)proxy_call_foreign_function,
#ifdef ABI_0_1_0
      (void *)proxy_continue_response, (void *)proxy_clear_route_cache,
#else
      (void *)proxy_get_log_level, (void *)proxy_close_stream,
#endif
  };
  return reinterpret_cast<size_t>(all[n % (sizeof all / sizeof *all)]);
}
