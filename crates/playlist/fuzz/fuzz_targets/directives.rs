//! Reads the input as a query, and answers it at the end of some playlist.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| support::targets::directives(bytes));
