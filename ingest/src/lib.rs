//! The ingest role: RTMP in, sealed CMAF out.
//!
//! Owns the RTMP server, the sessions of streams, the encoder ladder, sealing and pushing. Deliberately keeps nothing for viewers
//! and serves none: it pushes its media to broadcast nodes and its seals over the bus.

mod authority;
mod config;
mod intake;
mod keys;
mod log;
mod metrics;
mod nodes;
pub mod pipeline;
mod push;
mod report;
mod role;
mod rtmp_server;
mod session;
mod slate;
mod standby;

pub use authority::sealing_key_in;
pub use config::{Config, DuringOutage};
pub use role::Ingest;
