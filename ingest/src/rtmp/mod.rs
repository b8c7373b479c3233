//! The shell around the `rtmp` crate: sockets, deadlines, counts, and the way of media from there to the hub.
//!
//! Deliberately knows nothing of what becomes of the media.

mod connection;
mod paced;
mod refusals;
mod server;

pub(crate) use server::Server;
