//! RTMP (Adobe's Real Time Messaging Protocol 1.0): accepts publishers, checks what they send, and hands their media on.
//!
//! [`chunk`], [`amf`], [`flv`] and [`protocol`] are pure: bytes in, messages and answers out. [`connection`] and [`server`] are the
//! shell. Deliberately knows nothing of what becomes of the media.

mod amf;
mod chunk;
mod connection;
pub(crate) mod flv;
mod protocol;
mod server;

pub(crate) use server::Server;
