//! Streams at this ingest: who publishes, what becomes of it, and the seal log that it ends up in.
//!
//! Owns the life of a stream (live, reconnecting, ended), its epochs and its log. [`lifecycle`], [`input`],
//! [`advice`], [`announced`], [`log`] and [`outage`] are pure;
//! [`hub`] and [`driver`] are the shell around them.

mod advice;
mod announce;
mod announced;
mod driver;
mod epoch;
mod feed;
pub(crate) mod hub;
pub(crate) mod input;
mod lifecycle;
pub(crate) mod log;
mod outage;
mod report;
mod stats;
