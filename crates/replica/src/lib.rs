//! The metadata log on a node: a replica on disk, kept up to date from the bus, from control and from other nodes.
//!
//! The shell around the pure crate [`metadata`]. Owns the SQLite file, the routes under `/cluster/v1/metadata`, the questions to
//! other nodes, and, on a control node, the key that writes ([`Writer`]). Deliberately knows nothing of what rows mean: a role looks
//! at them through [`Log::look`] when [`Log::changes`] says so.

mod frames;
mod ledger;
mod log;
mod member;
mod members;
mod peers;
mod routes;
mod store;
mod sync;
mod trust;
mod writer;

pub use ledger::Ledger;
pub use log::{Log, Standing};
pub use member::{Membership, Report, Rules};
pub use members::only_members;
pub use peers::Peers;
pub use routes::router;
pub use store::{EntryChanges, RowChange};
pub use sync::keep_up;
pub use writer::{ControlIdentity, NotAlone, Writer};

/// Help texts of this crate's metrics, shown in `/metrics`.
const HELP: &[(&str, &str)] = &[
    ("metadata_head_age_seconds", "Age of the newest word of control on the metadata log, by node."),
    ("metadata_sequence", "Newest entry of the metadata log that a node has."),
    ("metadata_forked", "Whether control has signed two metadata logs: 1, else 0."),
    ("metadata_nodes_refused_total", "Requests of nodes that the metadata log refuses, by reason."),
    ("metadata_refused_total", "Entries, heads and root statements refused, by node and reason."),
    ("metadata_not_understood", "Rows of the metadata log that the software of a node is too old for."),
];
