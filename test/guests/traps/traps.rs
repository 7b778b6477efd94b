//! Ways to fail in Rust, each in a line of its own; the number of header fields chooses. The test reads the lines from the marks.

pub mod shop {
    pub trait Counter {
        fn count(&self, list: &[u32], at: usize) -> u32;
    }

    pub struct Till(pub u32);

    impl Counter for Till {
        #[inline(never)]
        fn count(&self, list: &[u32], at: usize) -> u32 {
            self.0 + list[at] // range
        }
    }
}

use shop::Counter;

#[no_mangle]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Vec::with_capacity(size).leak().as_mut_ptr()
}

#[no_mangle]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[no_mangle]
pub extern "C" fn proxy_on_request_headers(_id: u32, choice: usize, _end: u32) -> u32 {
    if choice == 3 {
        return shop::Till(1).count(&[1, 2, 3], choice); // call
    }
    if choice == 4 {
        panic!("out of {}", "bread"); // panic
    }
    0
}
