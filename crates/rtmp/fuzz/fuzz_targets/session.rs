//! Reads the input as a connection that arrives in pieces, and answers as the server does.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::targets::session(bytes));
