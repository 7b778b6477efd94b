//! From the host's callbacks to contexts, as strict as the Rust SDK's dispatcher: an id that is unknown or comes
//! twice is a panic, and so is the answer to an HTTP call that nobody made.
use crate::host;
use crate::{Root, Stream};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

#[derive(Default)]
struct Dispatcher {
    roots: RefCell<HashMap<u32, Box<Root>>>,
    streams: RefCell<HashMap<u32, Box<Stream>>>,
    http_calls: RefCell<HashMap<u32, u32>>,
    grpc_calls: RefCell<HashMap<u32, u32>>,
    active: Cell<u32>,
}

thread_local! {
    static DISPATCHER: Dispatcher = Dispatcher::default();
    static READY: Cell<bool> = Cell::new(false);
}

/// What the SDK's start macro does: registration of the factories.
fn register() {
    READY.with(|ready| ready.set(true));
    std::panic::set_hook(Box::new(|info| host::log(5, &info.to_string())));
}

#[cfg(not(start))]
#[no_mangle]
pub extern "C" fn _initialize() {
    extern "C" {
        fn __wasm_call_ctors();
    }
    unsafe { __wasm_call_ctors() };
    register();
}
#[cfg(start)]
#[no_mangle]
pub extern "C" fn _start() {
    register();
}

pub fn http_call_made(token: u32) {
    DISPATCHER.with(|all| {
        if all.http_calls.borrow_mut().insert(token, all.active.get()).is_some() {
            panic!("duplicate token_id")
        }
    })
}
pub fn grpc_call_made(token: u32) {
    DISPATCHER.with(|all| {
        if all.grpc_calls.borrow_mut().insert(token, all.active.get()).is_some() {
            panic!("duplicate token_id")
        }
    })
}

fn on_root<R>(id: u32, act: impl FnOnce(&mut Root) -> R) -> R {
    DISPATCHER.with(|all| match all.roots.borrow_mut().get_mut(&id) {
        Some(root) => {
            all.active.set(id);
            act(root)
        }
        None => panic!("invalid context_id"),
    })
}
fn on_stream<R>(id: u32, act: impl FnOnce(&mut Stream) -> R) -> R {
    DISPATCHER.with(|all| match all.streams.borrow_mut().get_mut(&id) {
        Some(stream) => {
            all.active.set(id);
            act(stream)
        }
        None => panic!("invalid context_id"),
    })
}

#[cfg(abi_0_1_0)]
#[no_mangle]
pub extern "C" fn proxy_abi_version_0_1_0() {}
#[cfg(not(abi_0_1_0))]
#[no_mangle]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[no_mangle]
pub extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    assert!(READY.with(Cell::get), "no start function has run");
    DISPATCHER.with(|all| {
        let fresh = if parent == 0 {
            all.roots.borrow_mut().insert(id, Box::new(Root::default())).is_none()
        } else {
            let roots = all.roots.borrow();
            let root = roots.get(&parent).unwrap_or_else(|| panic!("invalid root_context_id"));
            all.streams.borrow_mut().insert(id, Box::new(root.create_stream())).is_none()
        };
        if !fresh {
            panic!("duplicate context_id")
        }
    })
}
#[no_mangle]
pub extern "C" fn proxy_on_done(id: u32) -> u32 {
    DISPATCHER.with(|all| {
        if !all.streams.borrow().contains_key(&id) && !all.roots.borrow().contains_key(&id) {
            panic!("invalid context_id")
        }
    });
    1
}
#[no_mangle]
pub extern "C" fn proxy_on_log(id: u32) {
    on_stream(id, |stream| stream.on_log())
}
#[no_mangle]
pub extern "C" fn proxy_on_delete(id: u32) {
    DISPATCHER.with(|all| {
        let known = all.streams.borrow_mut().remove(&id).is_some() || all.roots.borrow_mut().remove(&id).is_some();
        if !known {
            panic!("invalid context_id")
        }
    })
}
#[no_mangle]
pub extern "C" fn proxy_on_vm_start(id: u32, size: usize) -> u32 {
    on_root(id, |root| root.on_vm_start(size)).into()
}
#[no_mangle]
pub extern "C" fn proxy_on_configure(id: u32, size: usize) -> u32 {
    on_root(id, |root| root.on_configure(size)).into()
}
#[no_mangle]
pub extern "C" fn proxy_on_tick(id: u32) {
    on_root(id, |root| root.on_tick())
}
#[no_mangle]
pub extern "C" fn proxy_on_queue_ready(id: u32, token: u32) {
    on_root(id, |root| root.on_queue_ready(token))
}
#[cfg(abi_0_1_0)]
#[no_mangle]
pub extern "C" fn proxy_on_request_headers(id: u32, _count: usize) -> u32 {
    on_stream(id, |stream| stream.on_request_headers())
}
#[cfg(not(abi_0_1_0))]
#[no_mangle]
pub extern "C" fn proxy_on_request_headers(id: u32, _count: usize, _end: u32) -> u32 {
    on_stream(id, |stream| stream.on_request_headers())
}
#[no_mangle]
pub extern "C" fn proxy_on_request_body(id: u32, size: usize, end: u32) -> u32 {
    on_stream(id, |stream| stream.on_body(0, " got ", size, end != 0))
}
#[no_mangle]
pub extern "C" fn proxy_on_request_trailers(id: u32, _count: usize) -> u32 {
    on_stream(id, |_stream| 0)
}
#[cfg(abi_0_1_0)]
#[no_mangle]
pub extern "C" fn proxy_on_response_headers(id: u32, _count: usize) -> u32 {
    on_stream(id, |stream| stream.on_response_headers())
}
#[cfg(not(abi_0_1_0))]
#[no_mangle]
pub extern "C" fn proxy_on_response_headers(id: u32, _count: usize, _end: u32) -> u32 {
    on_stream(id, |stream| stream.on_response_headers())
}
#[no_mangle]
pub extern "C" fn proxy_on_response_body(id: u32, size: usize, end: u32) -> u32 {
    on_stream(id, |stream| stream.on_body(1, " sent ", size, end != 0))
}
#[no_mangle]
pub extern "C" fn proxy_on_response_trailers(id: u32, _count: usize) -> u32 {
    on_stream(id, |_stream| 0)
}
#[no_mangle]
pub extern "C" fn proxy_on_http_call_response(id: u32, token: u32, headers: usize, body: usize, trailers: usize) {
    let caller = DISPATCHER.with(|all| {
        assert!(all.roots.borrow().contains_key(&id), "not a root context: {}", id);
        all.http_calls.borrow_mut().remove(&token).unwrap_or_else(|| panic!("invalid token_id"))
    });
    answer(caller, |stream| stream.on_http_call_response(headers, body, trailers))
}
/// A stream that is gone has no use for its answer.
fn answer(caller: u32, act: impl FnOnce(&mut Stream)) {
    if DISPATCHER.with(|all| all.streams.borrow().contains_key(&caller)) {
        host::set_effective_context(caller);
        on_stream(caller, act)
    }
}
fn grpc_caller(token: u32) -> Option<u32> {
    DISPATCHER.with(|all| all.grpc_calls.borrow_mut().remove(&token))
}
#[no_mangle]
pub extern "C" fn proxy_on_grpc_receive_initial_metadata(_id: u32, _token: u32, _count: usize) {}
#[no_mangle]
pub extern "C" fn proxy_on_grpc_receive(_id: u32, token: u32, size: usize) {
    if let Some(caller) = grpc_caller(token) {
        answer(caller, |stream| stream.on_grpc(0, size))
    }
}
#[no_mangle]
pub extern "C" fn proxy_on_grpc_receive_trailing_metadata(_id: u32, _token: u32, _count: usize) {}
#[no_mangle]
pub extern "C" fn proxy_on_grpc_close(_id: u32, token: u32, status: u32) {
    if let Some(caller) = grpc_caller(token) {
        answer(caller, |stream| stream.on_grpc(status, 0))
    }
}
#[no_mangle]
pub extern "C" fn proxy_on_new_connection(_id: u32) -> u32 {
    panic!("invalid context_id")
}
#[no_mangle]
pub extern "C" fn proxy_on_downstream_data(_id: u32, _size: usize, _end: u32) -> u32 {
    panic!("invalid context_id")
}
#[no_mangle]
pub extern "C" fn proxy_on_downstream_connection_close(_id: u32, _peer: u32) {}
#[no_mangle]
pub extern "C" fn proxy_on_upstream_data(_id: u32, _size: usize, _end: u32) -> u32 {
    panic!("invalid context_id")
}
#[no_mangle]
pub extern "C" fn proxy_on_upstream_connection_close(_id: u32, _peer: u32) {}
