//! Host functions as the Rust SDK wraps them: a status that a call is not known to answer is a panic, and memory that
//! the host fills becomes a vector whose capacity is exactly its length.
use std::ptr::{null, null_mut};

macro_rules! import {
    ($($(#[$when:meta])* fn $name:ident($($arg:ident: $kind:ty),*);)*) => {
        #[link(wasm_import_module = "env")]
        extern "C" { $($(#[$when])* fn $name($($arg: $kind),*) -> u32;)* }
        /// Every import, so that none is dropped: modules of the SDK import nearly the whole ABI.
        #[no_mangle]
        pub extern "C" fn every_import(n: usize) -> usize {
            let mut all = Vec::new();
            $($(#[$when])* all.push($name as usize);)*
            all[n % all.len()]
        }
    };
}
type P = *const u8;
type OutP = *mut *mut u8;
type OutSize = *mut usize;

import! {
    fn proxy_log(level: u32, text: P, size: usize);
    #[cfg(not(abi_0_1_0))]
    fn proxy_get_log_level(level: *mut u32);
    fn proxy_get_current_time_nanoseconds(time: *mut u64);
    fn proxy_set_tick_period_milliseconds(period: u32);
    fn proxy_set_effective_context(id: u32);
    fn proxy_done();
    fn proxy_get_status(code: *mut u32, text: OutP, size: OutSize);
    fn proxy_get_property(path: P, path_size: usize, value: OutP, size: OutSize);
    fn proxy_set_property(path: P, path_size: usize, value: P, size: usize);
    #[cfg(not(abi_0_1_0))]
    fn proxy_continue_stream(stream: u32);
    #[cfg(not(abi_0_1_0))]
    fn proxy_close_stream(stream: u32);
    #[cfg(abi_0_1_0)]
    fn proxy_continue_request();
    #[cfg(abi_0_1_0)]
    fn proxy_continue_response();
    #[cfg(abi_0_1_0)]
    fn proxy_clear_route_cache();
    #[cfg(abi_0_1_0)]
    fn proxy_get_configuration(value: OutP, size: OutSize);
    fn proxy_send_local_response(code: u32, details: P, details_size: usize, body: P, body_size: usize, headers: P, headers_size: usize, grpc: i32);
    fn proxy_get_header_map_value(map: u32, key: P, key_size: usize, value: OutP, size: OutSize);
    fn proxy_add_header_map_value(map: u32, key: P, key_size: usize, value: P, size: usize);
    fn proxy_replace_header_map_value(map: u32, key: P, key_size: usize, value: P, size: usize);
    fn proxy_remove_header_map_value(map: u32, key: P, key_size: usize);
    fn proxy_get_header_map_pairs(map: u32, pairs: OutP, size: OutSize);
    fn proxy_set_header_map_pairs(map: u32, pairs: P, size: usize);
    fn proxy_get_header_map_size(map: u32, size: OutSize);
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, bytes: OutP, size: OutSize);
    fn proxy_get_buffer_status(buffer: u32, size: OutSize, flags: *mut u32);
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, length: usize, bytes: P, size: usize);
    fn proxy_http_call(upstream: P, upstream_size: usize, headers: P, headers_size: usize, body: P, body_size: usize, trailers: P, trailers_size: usize, timeout: u32, token: *mut u32);
    fn proxy_grpc_call(upstream: P, upstream_size: usize, service: P, service_size: usize, method: P, method_size: usize, metadata: P, metadata_size: usize, message: P, message_size: usize, timeout: u32, token: *mut u32);
    fn proxy_grpc_stream(upstream: P, upstream_size: usize, service: P, service_size: usize, method: P, method_size: usize, metadata: P, metadata_size: usize, token: *mut u32);
    fn proxy_grpc_send(token: u32, message: P, size: usize, end: u32);
    fn proxy_grpc_cancel(token: u32);
    fn proxy_grpc_close(token: u32);
    fn proxy_get_shared_data(key: P, key_size: usize, value: OutP, size: OutSize, cas: *mut u32);
    fn proxy_set_shared_data(key: P, key_size: usize, value: P, size: usize, cas: u32);
    fn proxy_register_shared_queue(name: P, size: usize, token: *mut u32);
    fn proxy_resolve_shared_queue(vm: P, vm_size: usize, name: P, size: usize, token: *mut u32);
    fn proxy_enqueue_shared_queue(token: u32, value: P, size: usize);
    fn proxy_dequeue_shared_queue(token: u32, value: OutP, size: OutSize);
    fn proxy_define_metric(kind: u32, name: P, size: usize, id: *mut u32);
    fn proxy_increment_metric(id: u32, offset: i64);
    fn proxy_record_metric(id: u32, value: u64);
    fn proxy_get_metric(id: u32, value: *mut u64);
    fn proxy_call_foreign_function(name: P, name_size: usize, argument: P, size: usize, result: OutP, result_size: OutSize);
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const EMPTY: u32 = 7;
const CAS_MISMATCH: u32 = 8;
const INTERNAL_FAILURE: u32 = 10;

#[no_mangle]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut bytes: Vec<u8> = Vec::with_capacity(size);
    let at = bytes.as_mut_ptr();
    std::mem::forget(bytes);
    at
}

fn must(status: u32) {
    if status != OK {
        panic!("unexpected status: {}", status)
    }
}

/// What a call gives through a pointer and a size. `fine` are the statuses besides Ok, which mean that there is none.
fn given(fine: &[u32], call: impl FnOnce(OutP, OutSize) -> u32) -> Option<Vec<u8>> {
    let (mut at, mut size) = (null_mut(), 0);
    match call(&mut at, &mut size) {
        OK if at.is_null() => Some(Vec::new()),
        OK => Some(unsafe { Vec::from_raw_parts(at, size, size) }),
        status if fine.contains(&status) => None,
        status => panic!("unexpected status: {}", status),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

pub fn log(level: u32, message: &str) {
    unsafe { must(proxy_log(level, message.as_ptr(), message.len())) }
}
pub fn now() -> u64 {
    let mut time = 0;
    unsafe { must(proxy_get_current_time_nanoseconds(&mut time)) };
    time
}
pub fn set_tick_period(ms: u32) {
    unsafe { must(proxy_set_tick_period_milliseconds(ms)) }
}
pub fn set_effective_context(id: u32) {
    unsafe { must(proxy_set_effective_context(id)) }
}

pub fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    // SerializationFailure and InternalFailure are known answers too.
    given(&[NOT_FOUND, 3, INTERNAL_FAILURE], |at, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), at, size) })
}
pub fn set_property(path: &[&str], value: &[u8]) {
    let path = path.join("\0");
    unsafe { must(proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len())) }
}

#[cfg(not(abi_0_1_0))]
#[allow(dead_code)]
pub fn continue_stream(stream: u32) {
    unsafe { must(proxy_continue_stream(stream)) }
}
#[cfg(not(abi_0_1_0))]
#[allow(dead_code)]
pub fn close_stream(stream: u32) {
    unsafe { must(proxy_close_stream(stream)) }
}
pub fn resume_request() {
    #[cfg(abi_0_1_0)]
    unsafe {
        must(proxy_continue_request())
    }
    #[cfg(not(abi_0_1_0))]
    unsafe {
        must(proxy_continue_stream(0))
    }
}

#[cfg(abi_0_1_0)]
pub fn configuration(_buffer: u32) -> String {
    text(given(&[], |at, size| unsafe { proxy_get_configuration(at, size) }).unwrap())
}
#[cfg(not(abi_0_1_0))]
pub fn configuration(buffer: u32) -> String {
    text(self::buffer(buffer, 0, usize::MAX).unwrap_or_default())
}

fn encode(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        out.extend(part.as_bytes());
        out.push(0);
    }
    out
}
fn decode(bytes: &[u8]) -> Vec<(String, String)> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let count = if bytes.is_empty() { 0 } else { number(0) };
    let mut at = 4 + count * 8;
    let mut part = |size: usize| {
        let out = text(bytes[at..at + size].to_vec());
        at += size + 1;
        out
    };
    (0..count).map(|n| (part(number(4 + n * 8)), part(number(8 + n * 8)))).collect()
}

pub fn reply(code: u32, headers: &[(&str, &str)], body: &str) {
    let head = encode(headers);
    unsafe { must(proxy_send_local_response(code, null(), 0, body.as_ptr(), body.len(), head.as_ptr(), head.len(), -1)) }
}

pub fn field(map: u32, key: &str) -> Option<String> {
    // The SDK for 0.1.0 knows no NotFound here.
    let fine: &[u32] = if cfg!(abi_0_1_0) { &[] } else { &[NOT_FOUND] };
    let value = given(fine, |at, size| unsafe { proxy_get_header_map_value(map, key.as_ptr(), key.len(), at, size) });
    value.map(text)
}
pub fn add_field(map: u32, key: &str, value: &str) {
    unsafe { must(proxy_add_header_map_value(map, key.as_ptr(), key.len(), value.as_ptr(), value.len())) }
}
/// None removes the field.
pub fn set_field(map: u32, key: &str, value: Option<&str>) {
    match value {
        Some(value) => unsafe {
            must(proxy_replace_header_map_value(map, key.as_ptr(), key.len(), value.as_ptr(), value.len()))
        },
        None => unsafe { must(proxy_remove_header_map_value(map, key.as_ptr(), key.len())) },
    }
}
pub fn fields(map: u32) -> Vec<(String, String)> {
    decode(&given(&[], |at, size| unsafe { proxy_get_header_map_pairs(map, at, size) }).unwrap())
}
pub fn set_fields(map: u32, pairs: &[(&str, &str)]) {
    let bytes = encode(pairs);
    unsafe { must(proxy_set_header_map_pairs(map, bytes.as_ptr(), bytes.len())) }
}

pub fn buffer(kind: u32, start: usize, max: usize) -> Option<Vec<u8>> {
    given(&[NOT_FOUND], |at, size| unsafe { proxy_get_buffer_bytes(kind, start, max, at, size) })
}
pub fn set_buffer(kind: u32, start: usize, length: usize, value: &[u8]) {
    unsafe { must(proxy_set_buffer_bytes(kind, start, length, value.as_ptr(), value.len())) }
}

pub fn http_call(upstream: &str, headers: &[(&str, &str)], body: &str) -> Result<u32, u32> {
    let (head, mut token) = (encode(headers), 0);
    let trailers = encode(&[]);
    let status = unsafe {
        proxy_http_call(
            upstream.as_ptr(), upstream.len(), head.as_ptr(), head.len(), body.as_ptr(), body.len(), trailers.as_ptr(),
            trailers.len(), 60000, &mut token,
        )
    };
    match status {
        OK => Ok(token),
        BAD_ARGUMENT | INTERNAL_FAILURE => Err(status),
        status => panic!("unexpected status: {}", status),
    }
}
pub fn grpc_call(upstream: &str, service: &str, method: &str, message: &[u8]) -> u32 {
    let (metadata, mut token) = (encode(&[]), 0);
    unsafe {
        must(proxy_grpc_call(
            upstream.as_ptr(), upstream.len(), service.as_ptr(), service.len(), method.as_ptr(), method.len(),
            metadata.as_ptr(), metadata.len(), message.as_ptr(), message.len(), 60000, &mut token,
        ))
    }
    token
}

pub fn shared_data(key: &str) -> (Option<String>, u32) {
    let mut cas = 0;
    let value = given(&[NOT_FOUND], |at, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), at, size, &mut cas) });
    (value.map(text), cas)
}
/// False when somebody else was faster.
pub fn set_shared_data(key: &str, value: &[u8], cas: u32) -> bool {
    match unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) } {
        OK => true,
        CAS_MISMATCH => false,
        status => panic!("unexpected status: {}", status),
    }
}
pub fn register_queue(name: &str) -> u32 {
    let mut token = 0;
    unsafe { must(proxy_register_shared_queue(name.as_ptr(), name.len(), &mut token)) };
    token
}
pub fn enqueue(token: u32, value: &str) {
    unsafe { must(proxy_enqueue_shared_queue(token, value.as_ptr(), value.len())) }
}
pub fn dequeue(token: u32) -> Option<Vec<u8>> {
    given(&[EMPTY], |at, size| unsafe { proxy_dequeue_shared_queue(token, at, size) })
}

pub fn define_metric(kind: u32, name: &str) -> u32 {
    let mut id = 0;
    unsafe { must(proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id)) };
    id
}
pub fn increment(id: u32, offset: i64) {
    unsafe { must(proxy_increment_metric(id, offset)) }
}
pub fn record(id: u32, value: u64) {
    unsafe { must(proxy_record_metric(id, value)) }
}
pub fn metric(id: u32) -> u64 {
    let mut value = 0;
    unsafe { must(proxy_get_metric(id, &mut value)) };
    value
}
