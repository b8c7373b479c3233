//! Reads the input as a log, with viewers who check every playlist against the rules.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::targets::log(bytes));
