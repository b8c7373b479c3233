//! The balancer in front of real TLS servers, with a real bus between them.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

mod api;
mod blocked;
mod cluster;
mod edges;
mod full;
mod impostors;
mod pair;
mod priorities;
mod protocols;
mod rotation;
mod shared;
mod shares;
mod silent;
mod stays;
mod sticky;
