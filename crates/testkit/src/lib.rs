//! Code that tests of several crates share. No product code depends on it.

#![allow(clippy::unwrap_used, clippy::new_without_default, reason = "helpers of tests, which may fail them")]

pub mod studio;
