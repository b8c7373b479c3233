//! The shell every role stands in: clock, configuration, certificates, listeners, ops plane, presence, logging.
//!
//! Owns everything that touches the machine on behalf of a role, so that roles hold what is theirs and the pure crates
//! touch nothing. Deliberately knows no role: it has no word of seals, playlists or RTMP.

pub mod acme;
pub mod clock;
pub mod config;
mod context;
pub mod files;
pub mod http;
pub mod logging;
pub mod ops;
pub mod presence;
pub mod priority;
mod redacted;
pub mod sparse;
pub mod tls;

pub use context::{Context, Setup};
pub use messages::Role;
pub use redacted::Redacted;
pub use tokio_util::sync::CancellationToken;
