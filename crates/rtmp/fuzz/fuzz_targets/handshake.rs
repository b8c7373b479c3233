//! Reads the input as a handshake that arrives in pieces.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::targets::handshake(bytes));
