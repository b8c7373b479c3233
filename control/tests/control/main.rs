//! The control node over real mutual TLS and a real bus.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

mod api;
mod api_audit;
mod api_walk;
mod cluster;
mod data_plane;
mod metadata;
mod root;
mod streamers;
mod tokens;
