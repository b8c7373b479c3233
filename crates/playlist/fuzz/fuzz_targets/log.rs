//! Logs out of bytes, and viewers who hold every playlist to the rules.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::targets::log(bytes));
