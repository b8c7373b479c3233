//! What others are told of a stream: its figures at `/status`, reports with warnings for its streamer, and its session on the bus.
//!
//! [`stats`] holds the figures, [`reporter`] reports on the input, [`announcer`] announces the session. `advice` is pure. Media waits for
//! none of it.

mod advice;
pub(crate) mod announcer;
pub(crate) mod reporter;
pub(crate) mod stats;
