//! The test source: publishes a moving test pattern with a burned-in wall clock and a tone, or a looped file, to any RTMP or RTMPS
//! server.
//!
//! Owns the pattern, its clock (also how to read it back: [`clock::read`]), its pacing and its connection. Deliberately depends on nothing
//! else of Sealcast: what it proves about a server, it proves from outside.

pub mod clock;
mod config;
mod connection;
mod encode;
mod file;
mod flags;
mod font;
mod pattern;
mod run;
mod time;
mod tone;

pub use config::{Config, FrameRate, InvalidConfig};
pub use flags::{EXAMPLES, Flags};
pub use run::Source;
pub use tokio_util::sync::CancellationToken;
