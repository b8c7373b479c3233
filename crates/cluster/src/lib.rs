//! The cluster as a node sees it: who is there, who owns a stream, and who should take the next viewer.
//!
//! Owns the [`Membership`] view that is folded from presence messages and failures, the operator's [`policy`], [`placement`],
//! [`owners`] and [`replicas`], the choices among members, and [`seats`], where viewers are. Deliberately sends nothing and asks
//! nobody. Pure.

mod membership;
pub mod owners;
pub mod placement;
pub mod policy;
pub mod replicas;
pub mod seats;

pub use membership::{Health, LEASE, Member, Membership, NODES_MAX, PROBES_MISSED_MAX, Probe, QUIET, SUSPECT};
