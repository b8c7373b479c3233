//! The cluster as a node sees it: which nodes are there, which own a stream, and which should take the next viewer.
//!
//! Owns the [`Membership`] view, a fold over presence messages and failures; the operator's [`policy`]; the choices among members
//! ([`placement`], [`owners`] and [`replicas`]); and [`seats`], the places of viewers. Deliberately sends no message. Pure.

mod membership;
pub mod owners;
pub mod placement;
pub mod policy;
pub mod replicas;
pub mod seats;

pub use membership::{Health, LEASE, Member, Membership, NODES_MAX, PROBES_MISSED_MAX, Probe, QUIET, SUSPECT};
