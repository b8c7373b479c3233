//! The handshake (5.2), simple and with digests: that of `rml_rtmp`. Pure but for its random numbers.

pub use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
