/* Every host function of the Proxy-Wasm ABI, as a C or C++ compiler for WebAssembly imports it from the module env. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define HOST(type, name) extern "C" __attribute__((import_module("env"), import_name(#name))) type name
#define CALLBACK(type, name) extern "C" __attribute__((export_name(#name))) type name
#else
#define HOST(type, name) __attribute__((import_module("env"), import_name(#name))) extern type name
#define CALLBACK(type, name) __attribute__((export_name(#name))) type name
#endif

typedef const char *text;
typedef char **text_out;
typedef uint32_t u32;

enum { OK, NOT_FOUND, BAD_ARGUMENT, CAS_MISMATCH = 8, INTERNAL_FAILURE = 10 };
enum { CONTINUE, PAUSE };
enum { REQUEST_BODY, RESPONSE_BODY, DOWNSTREAM, UPSTREAM, CALL_BODY, GRPC_MESSAGE, VM_CONFIG, PLUGIN_CONFIG };
enum { REQUEST_HEADERS, REQUEST_TRAILERS, RESPONSE_HEADERS, RESPONSE_TRAILERS, GRPC_INITIAL, GRPC_TRAILING, CALL_HEADERS };

HOST(u32, proxy_log)(u32 level, text message, size_t size);
HOST(u32, proxy_get_current_time_nanoseconds)(uint64_t *out);
HOST(u32, proxy_set_tick_period_milliseconds)(u32 period);
HOST(u32, proxy_set_effective_context)(u32 id);
HOST(u32, proxy_done)(void);
HOST(u32, proxy_get_status)(u32 *code, text_out message, size_t *size);
HOST(u32, proxy_get_property)(text path, size_t path_size, text_out value, size_t *size);
HOST(u32, proxy_set_property)(text path, size_t path_size, text value, size_t size);
#ifdef ABI_0_1_0
HOST(u32, proxy_continue_request)(void);
HOST(u32, proxy_continue_response)(void);
HOST(u32, proxy_clear_route_cache)(void);
HOST(u32, proxy_get_configuration)(text_out value, size_t *size);
#else
HOST(u32, proxy_get_log_level)(u32 *level);
HOST(u32, proxy_continue_stream)(u32 stream);
HOST(u32, proxy_close_stream)(u32 stream);
#endif
HOST(u32, proxy_send_local_response)(u32 code, text details, size_t details_size, text body, size_t body_size,
                                     text headers, size_t headers_size, u32 grpc_status);
HOST(u32, proxy_get_header_map_value)(u32 map, text key, size_t key_size, text_out value, size_t *size);
HOST(u32, proxy_add_header_map_value)(u32 map, text key, size_t key_size, text value, size_t size);
HOST(u32, proxy_replace_header_map_value)(u32 map, text key, size_t key_size, text value, size_t size);
HOST(u32, proxy_remove_header_map_value)(u32 map, text key, size_t key_size);
HOST(u32, proxy_get_header_map_pairs)(u32 map, text_out pairs, size_t *size);
HOST(u32, proxy_set_header_map_pairs)(u32 map, text pairs, size_t size);
HOST(u32, proxy_get_header_map_size)(u32 map, size_t *size);
HOST(u32, proxy_get_buffer_bytes)(u32 buffer, u32 start, u32 max, text_out bytes, size_t *size);
HOST(u32, proxy_get_buffer_status)(u32 buffer, size_t *size, u32 *flags);
HOST(u32, proxy_set_buffer_bytes)(u32 buffer, u32 start, u32 length, text bytes, size_t size);
HOST(u32, proxy_http_call)(text cluster, size_t cluster_size, text headers, size_t headers_size, text body,
                           size_t body_size, text trailers, size_t trailers_size, u32 timeout_ms, u32 *token);
HOST(u32, proxy_grpc_call)(text target, size_t target_size, text service, size_t service_size, text method,
                           size_t method_size, text metadata, size_t metadata_size, text message, size_t message_size,
                           u32 timeout_ms, u32 *token);
HOST(u32, proxy_grpc_stream)(text target, size_t target_size, text service, size_t service_size, text method,
                             size_t method_size, text metadata, size_t metadata_size, u32 *token);
HOST(u32, proxy_grpc_send)(u32 token, text message, size_t size, u32 end);
HOST(u32, proxy_grpc_cancel)(u32 token);
HOST(u32, proxy_grpc_close)(u32 token);
HOST(u32, proxy_get_shared_data)(text key, size_t key_size, text_out value, size_t *size, u32 *cas);
HOST(u32, proxy_set_shared_data)(text key, size_t key_size, text value, size_t size, u32 cas);
HOST(u32, proxy_register_shared_queue)(text name, size_t size, u32 *token);
HOST(u32, proxy_resolve_shared_queue)(text vm, size_t vm_size, text name, size_t size, u32 *token);
HOST(u32, proxy_enqueue_shared_queue)(u32 token, text value, size_t size);
HOST(u32, proxy_dequeue_shared_queue)(u32 token, text_out value, size_t *size);
HOST(u32, proxy_define_metric)(u32 kind, text name, size_t size, u32 *id);
HOST(u32, proxy_increment_metric)(u32 id, int64_t offset);
HOST(u32, proxy_record_metric)(u32 id, uint64_t value);
HOST(u32, proxy_get_metric)(u32 id, uint64_t *value);
HOST(u32, proxy_call_foreign_function)(text name, size_t name_size, text argument, size_t size, text_out result,
                                       size_t *result_size);
