//! Members that were deleted, in the metadata log: a control that was restored from a backup has them still, and forgets them again.
//!
//! The log names them by identities, which say nothing of a person. Deleted tenants need no such rows: the log has those that are there.

use media::UnixMillis;
use metadata::{Body, Edit, Tombstone, View, kind};

use crate::ControlState;
use crate::rows::put;

/// Most members whose deletion the log remembers; of more, the oldest are forgotten. Each takes some 100 bytes of every replica.
const GONE_MAX: usize = 20_000;
/// For how long: a backup that is older brings its members back.
const GONE_MS: i64 = 400 * 86_400 * 1_000;
/// Most of them that are forgotten with one entry.
const FORGOTTEN_MAX: usize = 64;

impl ControlState {
    /// Brings members that were deleted into the log.
    ///
    /// # Errors
    /// When the catalogue fails, or the log cannot be written; they stay noted then.
    pub(crate) async fn log_gone_members(&self) -> anyhow::Result<()> {
        loop {
            let gone = self.catalogue.members_gone().await?;
            if gone.is_empty() {
                return Ok(());
            }
            let now = self.node.clock.wall();
            let edits = |view: View<'_>| {
                let row = |(id, at): &(catalogue::Id, UnixMillis)| {
                    put(&view, Body::Tombstone(Tombstone { kind: kind::PERSON, name: id.to_string(), at: *at }))
                };
                gone.iter().filter_map(row).chain(forgotten(&view, now)).collect()
            };
            self.writer.write(edits).await?;
            self.catalogue.gone_is_logged(gone.into_iter().map(|(id, _)| id).collect()).await?;
        }
    }
}

/// The edits that make room.
fn forgotten(view: &View<'_>, now: UnixMillis) -> Vec<Edit> {
    let mut all: Vec<(UnixMillis, &str)> = view.gone(kind::PERSON).map(|(name, at)| (at, name)).collect();
    let surplus = all.len().saturating_sub(GONE_MAX);
    all.sort_unstable();
    let goes =
        |(place, (at, _)): &(usize, (UnixMillis, &str))| *place < surplus || now.0.saturating_sub(at.0) > GONE_MS;
    let names = all.into_iter().enumerate().filter(goes).take(FORGOTTEN_MAX);
    let removed = |(_, (_, name)): (usize, (UnixMillis, &str))| {
        let id = view.row_id(kind::TOMBSTONE, &format!("{}/{name}", kind::PERSON))?;
        Some(Edit { id, kind: kind::TOMBSTONE, body: None, salt: [0; 16] })
    };
    names.filter_map(removed).collect()
}
