//! Streams at this ingest: their publishers, their sessions and their seal logs.
//!
//! Owns the life of a stream (live, reconnecting, ended), its epochs and its log. Also decides whose turn it is when several ingests
//! have the same stream. [`lifecycle`], [`input`], [`advice`], [`announced`], [`log`], [`outage`], [`slate`], [`turn`] and
//! [`backlog`] are pure; [`hub`], [`driver`] and [`rivals`] are the shell around them.

mod advice;
mod announce;
mod announced;
mod backlog;
mod driver;
mod epoch;
mod feed;
pub(crate) mod hub;
pub(crate) mod input;
mod lifecycle;
pub(crate) mod log;
mod outage;
pub(crate) mod publication;
mod report;
mod rivals;
mod slate;
mod stats;
mod turn;

pub(crate) use driver::drive;
