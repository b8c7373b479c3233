//! How JavaScript calls [`Calls`]: it asks for room for an input, writes it into WebAssembly's memory, calls, and reads the answer.
//!
//! The only unsafe thing here is that functions get names that a linker sees: two with one name would be one. No pointer is read: both
//! buffers are owned here, and JavaScript writes between calls, when nothing in Rust runs.
#![allow(unsafe_code, reason = "`no_mangle` is unsafe, and exports nothing else")]

use std::cell::RefCell;
use std::time::Duration;

use crate::calls::{self, Calls};

#[derive(Default)]
struct Shared {
    calls: Calls,
    input: Vec<u8>,
    output: String,
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::default();
}

/// Room for an input of so many bytes: where to write it, or null when there is none ([`calls::room`]). Valid until the next call.
#[unsafe(no_mangle)]
extern "C" fn input(length: usize) -> *mut u8 {
    SHARED.with_borrow_mut(|shared| {
        // What was there before makes room first.
        shared.input = Vec::new();
        let Some(room) = calls::room(length) else { return std::ptr::null_mut() };
        shared.input = room;
        shared.input.as_mut_ptr()
    })
}

/// Makes a call with the input that was written last. Returns the length of the answer in bytes.
#[unsafe(no_mangle)]
extern "C" fn call(number: u32, now_ms: f64) -> usize {
    SHARED.with_borrow_mut(|shared| {
        let input = std::mem::take(&mut shared.input);
        let now = Duration::try_from_secs_f64(now_ms / 1_000.0).unwrap_or_default();
        shared.output = shared.calls.answer(number, input, now);
        shared.output.len()
    })
}

/// Where the answer is: UTF-8. Valid until the next call.
#[unsafe(no_mangle)]
extern "C" fn output() -> *const u8 {
    SHARED.with_borrow(|shared| shared.output.as_ptr())
}
