//! Limits that several modules name. Pure.

/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
