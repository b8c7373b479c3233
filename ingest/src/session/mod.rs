//! Streams at this ingest: their publishers, their sessions and their seal logs.
//!
//! Owns the life of a stream (live, reconnecting, ended), its epochs and its log. Also decides whose turn it is when several ingests
//! have the same stream. [`lifecycle`], [`input`], [`advice`], [`encoder_metadata`], [`log`], [`outage`], [`slate`], [`turn`] and
//! [`backlog`] are pure; [`hub`], [`driver`] and [`peer_ingests`] are the shell around them.

mod access_unit_feed;
mod advice;
mod announcer;
mod backlog;
mod driver;
mod encoder_metadata;
mod epoch;
pub(crate) mod hub;
pub(crate) mod input;
mod lifecycle;
pub(crate) mod log;
mod outage;
mod peer_ingests;
pub(crate) mod publication;
mod report;
mod slate;
mod stats;
mod turn;

pub(crate) use driver::drive;
