//! Code that tests of several crates and the tool `bench` share. No product code depends on it, and it depends on pure crates only, so that
//! the tests of every crate can use it.

#![allow(clippy::unwrap_used, clippy::new_without_default, reason = "helpers of tests, which may fail them")]

pub mod browser;
pub mod cluster;
pub mod hls;
pub mod hostile;
pub mod hostile_broker;
pub mod http;
pub mod issuer;
pub mod jwt;
pub mod link;
pub mod pebble;
pub mod players;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod publish;
pub mod sealcast;
pub mod studio;
pub mod viewer;
pub mod viewer_tokens;
pub mod wait;
