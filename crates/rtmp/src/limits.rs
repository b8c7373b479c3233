//! Everything that a peer could otherwise make grow, in one place. Times and counts of connections are limits too; they need a
//! clock or a socket, so whoever serves the connection holds them.

/// Largest message, in bytes: a 4K keyframe at a generous bit rate is under 4 MiB; the format itself allows 16 MiB.
pub const MESSAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Largest message before a publisher is accepted, in bytes: commands and metadata only.
pub const MESSAGE_BYTES_UNPUBLISHED_MAX: u32 = 64 * 1024;
/// Largest sum of messages under assembly in one connection, in bytes: one video message, and as much again for the rest.
pub const ASSEMBLY_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX as usize;
/// The same before a publisher is accepted.
pub const ASSEMBLY_BYTES_UNPUBLISHED_MAX: usize = 2 * MESSAGE_BYTES_UNPUBLISHED_MAX as usize;
/// Chunk streams of a connection. Encoders use 3 to 8; the format allows 65,598.
pub const CHUNK_STREAMS_MAX: usize = 64;
/// Largest chunk size that a peer may announce, in bytes (5.4.1). Encoders announce 4,096 to this.
pub const CHUNK_BYTES_MAX: u32 = 0x7FFF_FFFF;
/// Message streams of a connection. Encoders make one; some make a second after a refusal.
pub const MESSAGE_STREAMS_MAX: u32 = 16;
/// Deepest nesting of AMF values. Commands and metadata use 2.
pub const AMF_DEPTH_MAX: usize = 8;
/// AMF values in one message. The longest metadata seen has about 40.
pub const AMF_VALUES_MAX: usize = 1024;
/// Longest application name or stream key that is looked at, in bytes; a longer one is taken for an empty one.
pub const NAME_BYTES_MAX: usize = 512;
/// Smallest acknowledgement window that is honoured, in bytes (5.4.4): a smaller one only makes us send.
pub const WINDOW_BYTES_MIN: u32 = 16 * 1024;
