//! Folds entries, heads and root statements, signed or not.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = support::fold(bytes);
});
