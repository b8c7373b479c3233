//! What tests and fuzz targets share: what is done with bytes, and the rules that must hold whatever they are.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests, not all used in each")]

pub(crate) mod seeds;
pub(crate) mod targets;
