//! RTMP (Adobe's Real Time Messaging Protocol 1.0), the server's side for publishers: bytes in, events and answers out.
//!
//! Owns everything about the protocol that needs no socket. Deliberately knows no clock and no stream: the caller decides who may
//! publish and how long a peer may take, and handles the media. Pure.

pub mod amf;
pub mod chunk;
pub mod flv;
pub mod handshake;
mod key;
pub mod limits;
mod protocol;
mod writer;

pub use key::StreamKey;
pub use protocol::{Event, Protocol, ProtocolError};
