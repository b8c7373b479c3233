//! What viewers see: the HTTPS side of a broadcast node.
//!
//! Owns the contract URLs, their headers, the web app and the JSON descriptions. Deliberately cannot see anything that was
//! not admitted: it works on a [`Snapshots`], and admits, stores and pulls nothing itself.

mod allowance;
mod asked;
mod caching;
mod chat;
mod conditions;
mod encoding;
mod entrance;
mod envelope;
mod join;
mod live;
mod range;
mod readers;
mod render;
mod respond;
mod routes;
mod seen;
mod site;
mod snapshots;
mod steering;
mod traffic;
mod waiting;
mod web;

pub use chat::{ChatBounds, ChatHub};
pub use entrance::AccessControl;
pub use routes::Viewers;
pub use site::Settings;
pub use snapshots::{
    Coming, DvrSummary, Object, OnDisk, Reach, Reading, RenditionSummary, Snapshots, StreamDetail, StreamSummary,
    Trusted, Trusting, Verified,
};
pub use steering::Direct;
pub use traffic::{Metered, Rates, Traffic};
pub use waiting::{NoPlace, NodeWaiters, StreamWaiters, WAITING_PER_STREAM_MAX, WAITING_SHARE, Waiter, WaitingBounds};
