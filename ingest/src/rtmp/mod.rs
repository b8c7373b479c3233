//! The RTMP server: accepts publishers, checks what they send, and hands their media on.
mod amf;
mod chunk;
pub(crate) mod flv;
mod protocol;
