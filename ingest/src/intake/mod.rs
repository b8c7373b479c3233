//! Publishers and their media, on the way in: who may publish, what their messages mean, and how they reach the pipeline.
//!
//! [`hub`] admits publishers and starts the task of each stream. [`access_unit_feed`] carries one publisher's media into its pipeline.
//! [`lifecycle`], [`input`] and [`encoder_metadata`] are pure. Deliberately knows nothing of the log.

pub(crate) mod access_unit_feed;
pub(crate) mod credential;
pub(crate) mod encoder_metadata;
pub(crate) mod figures;
pub(crate) mod hub;
pub(crate) mod input;
pub(crate) mod lifecycle;
pub(crate) mod publication;
pub(crate) mod tenants;
