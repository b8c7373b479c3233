//! The shell around the `rtmp` crate: sockets, deadlines, counts, and the handover of media to the hub.
//!
//! Deliberately knows nothing of what the hub does with the media.

mod connection;
mod paced;
mod refusals;
mod server;

pub(crate) use server::Server;
