//! The broadcast role: the gate, and what viewers are served from behind it.
//!
//! Owns the thread that the gate runs on, recordings, the data plane between nodes, and
//! viewers' HTTPS with the web app. Deliberately neither encodes nor signs, and shows nothing that its own gate did not admit.

pub mod actor;
mod alerts;
mod bus_subscriptions;
mod config;
mod data_plane;
pub mod direct;
mod disk;
pub mod dvr;
mod edge;
mod effects;
mod follow;
mod interrupted;
mod memory;
mod metrics;
mod node_snapshots;
mod peers;
mod quotas;
mod role;
mod trust;
pub mod viewers;

pub use config::Config;
pub use quotas::Quotas;
pub use role::Broadcast;
