//! The shell around every role: clock, configuration, certificates, listeners, ops plane, presence, view of the cluster, logging.
//!
//! This crate owns everything that touches the machine on behalf of a role: a role keeps only its own work, and the pure crates touch
//! nothing. It deliberately knows no role, and nothing of seals, playlists or RTMP.

pub mod acme;
pub mod answer;
pub mod clock;
pub mod cluster_view;
pub mod config;
mod context;
pub mod control_routes;
pub mod files;
pub mod http;
pub mod logging;
pub mod ops;
pub mod presence;
pub mod priority;
pub mod problem;
pub mod publish_url;
mod redacted;
pub mod sparse;
pub mod tls;
pub mod wait;

pub use context::{Context, Setup};
pub use messages::Role;
pub use redacted::Redacted;
pub use tokio_util::sync::CancellationToken;
