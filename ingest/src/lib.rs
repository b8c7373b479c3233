//! The ingest role: RTMP in, sealed CMAF out.
//!
//! Owns the RTMP server, the sessions of streams, the encoder ladder, sealing and pushing. Deliberately keeps nothing for viewers
//! and serves none: what it makes is pushed to broadcast nodes, and its seals go over the bus.

mod config;
mod keys;
pub mod pipeline;
mod rtmp;

pub use config::Config;
