//! The wire filter in Rust; test/languages/wire.test.ts says what it does.
#[allow(dead_code)]
#[path = "../rust/host.rs"]
mod host;

use std::cell::RefCell;
use std::collections::HashMap;

const TAG: &str = env!("TAG");
const DOWNSTREAM: u32 = 2;
const UPSTREAM: u32 = 3;
const ANSWER_BODY: u32 = 4;
const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;
const ALL: usize = usize::MAX;

thread_local! {
    /// The connection that waits for the answer to each call.
    static WAITING: RefCell<HashMap<u32, u32>> = RefCell::default();
}

extern "C" {
    fn __wasm_call_ctors();
}
#[no_mangle]
pub extern "C" fn _initialize() {
    unsafe { __wasm_call_ctors() };
}
#[no_mangle]
pub extern "C" fn proxy_abi_version_0_2_1() {}

fn say(what: &str) {
    host::log(2, &format!("{} {}", TAG, what))
}

#[no_mangle]
pub extern "C" fn proxy_on_new_connection(_id: u32) -> u32 {
    say("opens");
    CONTINUE
}

#[no_mangle]
pub extern "C" fn proxy_on_downstream_data(id: u32, size: usize, end: u32) -> u32 {
    let text = String::from_utf8(host::buffer(DOWNSTREAM, 0, size).unwrap()).unwrap();
    if !text.ends_with('\n') {
        return if end != 0 { CONTINUE } else { PAUSE };
    }
    match text.as_str() {
        "call\n" => {
            let head = [(":method", "POST"), (":path", "/wire"), (":authority", "side")];
            let token = host::http_call("side", &head, "question").unwrap();
            WAITING.with(|all| all.borrow_mut().insert(token, id));
            return PAUSE;
        }
        "close\n" => host::close_stream(DOWNSTREAM),
        "who\n" => {
            let port = host::property(&["source", "port"]).unwrap();
            let port = i64::from_le_bytes(port.try_into().unwrap());
            host::set_buffer(DOWNSTREAM, 0, ALL, format!("who {}\n", port).as_bytes())
        }
        _ => host::set_buffer(DOWNSTREAM, 0, 0, format!("{}> ", TAG).as_bytes()),
    }
    CONTINUE
}

#[no_mangle]
pub extern "C" fn proxy_on_http_call_response(_id: u32, token: u32, _headers: u32, size: usize, _trailers: u32) {
    let answer = String::from_utf8(host::buffer(ANSWER_BODY, 0, size).unwrap()).unwrap();
    let waiting = WAITING.with(|all| all.borrow_mut().remove(&token)).unwrap();
    host::set_effective_context(waiting);
    host::set_buffer(DOWNSTREAM, 0, ALL, format!("call {}\n", answer).as_bytes());
    host::continue_stream(DOWNSTREAM);
}

#[no_mangle]
pub extern "C" fn proxy_on_upstream_data(_id: u32, size: usize, _end: u32) -> u32 {
    if size > 0 {
        host::set_buffer(UPSTREAM, 0, 0, format!("{}< ", TAG).as_bytes());
    }
    CONTINUE
}
#[no_mangle]
pub extern "C" fn proxy_on_upstream_connection_close(_id: u32, peer: u32) {
    say(&format!("upstream {}", peer))
}
#[no_mangle]
pub extern "C" fn proxy_on_downstream_connection_close(_id: u32, peer: u32) {
    say(&format!("closed {}", peer))
}
#[no_mangle]
pub extern "C" fn proxy_on_log(_id: u32) {
    say("ends")
}
