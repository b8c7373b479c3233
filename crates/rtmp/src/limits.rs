//! Limits on everything that a peer could otherwise make grow. Limits on time and on the number of connections need a clock or a
//! socket, so the caller enforces them.

/// Largest message, in bytes: a 4K keyframe at a high bit rate is under 4 MiB; the format itself allows 16 MiB.
pub const MESSAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Largest message before the server accepts a publisher, in bytes: only commands and metadata come so early.
pub const MESSAGE_BYTES_UNPUBLISHED_MAX: u32 = 64 * 1024;
/// Largest sum of unfinished messages in one connection, in bytes: one video message, and as much again for the rest.
pub const ASSEMBLY_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX as usize;
/// The same before the server accepts a publisher.
pub const ASSEMBLY_BYTES_UNPUBLISHED_MAX: usize = 2 * MESSAGE_BYTES_UNPUBLISHED_MAX as usize;
/// Most chunk streams of a connection. Encoders use 3 to 8; the format allows 65,598.
pub const CHUNK_STREAMS_MAX: usize = 64;
/// Largest chunk size that a peer may announce, in bytes (5.4.1). Encoders announce 4,096 up to this value.
pub const CHUNK_BYTES_MAX: u32 = 0x7FFF_FFFF;
/// Most message streams of a connection. Encoders create one; some create a second after a refusal.
pub const MESSAGE_STREAMS_MAX: u32 = 16;
/// Deepest nesting of AMF values. Commands and metadata use 2.
pub const AMF_DEPTH_MAX: usize = 8;
/// Most AMF values in one message. The longest metadata of known encoders has about 40.
pub const AMF_VALUES_MAX: usize = 1024;
/// Longest application name, in bytes; a longer one counts as empty.
pub const NAME_BYTES_MAX: usize = 512;
/// Longest stream key, in bytes; a longer one counts as empty. Tokens in place of keys have up to 4,096.
pub const KEY_BYTES_MAX: usize = 4_096;
/// Smallest acknowledgement window that the server honours, in bytes (5.4.4): a smaller one would only make it send more.
pub const WINDOW_BYTES_MIN: u32 = 16 * 1024;
