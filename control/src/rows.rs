//! Rows of the metadata log, and the edits that write them. Pure, except for identities and salts.

use std::time::Duration;

use media::{NodeId, StreamId, UnixMillis};
use metadata::limits::rows_max;
use metadata::{Body, Edit, Grant, Revocation, Revoked, RowId, SignedDelegation, StreamSettings, View, kind};
use seal::KeyId;

/// Pool of streams that nobody has put into another.
pub(crate) const POOL: &str = "default";
/// For how long a grant or a delegation stays in the log after its end: recordings that were sealed under it have expired by then.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

pub(crate) fn random() -> [u8; 16] {
    rand::random()
}

/// The edit that writes a row, in place of the one with its name.
pub(crate) fn put(view: &View<'_>, body: Body) -> Option<Edit> {
    let (kind, name) = (body.kind(), body.name()?);
    let id = view.row_id(kind, &name).unwrap_or_else(|| RowId(random()));
    Some(Edit { id, kind, body: Some(body), salt: random() })
}

pub(crate) fn revocation(subject: Revoked, since: UnixMillis, reason: &str) -> Body {
    Body::Revocation(Revocation { subject, since, reason: reason.to_owned() })
}

/// What the pools of streamers begin with, and no other.
pub(crate) const STREAMER_POOL: &str = "streamer/";

/// The pool of the streams that a streamer's own ingest seals, and no shared one.
pub(crate) fn pool_of(streamer: &NodeId) -> String {
    format!("{STREAMER_POOL}{streamer}")
}

/// Whether shared ingests seal the streams of a pool.
pub(crate) fn is_shared(pool: &str) -> bool {
    !pool.starts_with(STREAMER_POOL)
}

/// Whether a pool is that of a streamer which is there.
pub(crate) fn has_streamer(view: &View<'_>, pool: &str) -> bool {
    view.members().any(|member| member.is_guest && pool_of(&member.node) == pool)
}

/// The edits that remove grants and delegations which ended long ago; of very many, also those that ended lately, the oldest first. A
/// revoked grant stays until then: where a log of its key ends has to be known for the next key to go on.
pub(crate) fn forget_old(view: &View<'_>, now: UnixMillis) -> Vec<Edit> {
    let grants: Vec<_> = view.all_grants().map(|grant| (grant.until, grant.key_id().to_string())).collect();
    let sessions = view.delegations().map(SignedDelegation::delegation);
    let sessions: Vec<_> = sessions.map(|delegation| (delegation.until, delegation.session.to_string())).collect();
    let all = [(kind::GRANT, grants), (kind::DELEGATION, sessions)];
    let edits = all.into_iter().flat_map(|(kind, rows)| {
        let names = over(rows, (now, rows_max(kind) / 4 * 3));
        names.into_iter().filter_map(move |name| {
            let id = view.row_id(kind, &name)?;
            Some(Edit { id, kind, body: None, salt: [0; 16] })
        })
    });
    edits.collect()
}

/// Names of the rows that go, out of all rows with the times of their ends: so many that at most `kept_max` stay, or that what is over
/// for [`KEPT`] is gone. Those in force stay in any case.
fn over(mut rows: Vec<(UnixMillis, String)>, (now, kept_max): (UnixMillis, usize)) -> Vec<String> {
    let surplus = rows.len().saturating_sub(kept_max);
    rows.sort();
    let goes = |(place, (until, _)): &(usize, (UnixMillis, String))| {
        *until <= now && (*place < surplus || now.since(*until) > KEPT)
    };
    rows.into_iter().enumerate().filter(goes).map(|(_, (_, name))| name).collect()
}

pub(crate) fn its_streams(view: &View<'_>, node: &NodeId) -> Vec<StreamId> {
    let pool = pool_of(node);
    let mut streams: Vec<StreamId> =
        view.streams().filter(|stream| stream.pool == pool).map(|stream| stream.name.clone()).collect();
    streams.sort();
    streams
}

/// The edit that puts a stream into a pool; `None` when it is there.
pub(crate) fn moved(view: &View<'_>, name: &StreamId, pool: &str) -> Option<Edit> {
    let stream = view.stream(name).filter(|stream| stream.pool != pool)?;
    put(view, Body::Stream(StreamSettings { pool: pool.to_owned(), ..stream.clone() }))
}

/// Whether a grant's key or node is revoked, or named by `subjects`.
fn is_ended(view: &View<'_>, subjects: &[Revoked], grant: &Grant) -> bool {
    let (key, node) = (grant.key_id(), &grant.node);
    let is_named = |subject: &Revoked| match subject {
        Revoked::Key(named) => *named == key || *named == KeyId::of_node(node),
        Revoked::Node(named) => named == node,
    };
    subjects.iter().any(is_named) || view.is_key_revoked(&key) || view.is_node_revoked(node)
}

/// The edits that end the grants of what is revoked, or is about to be. Nodes refuse a revoked key anyway. A viewer's browser sees
/// its grant's row alone, because no proof says that a row is not there: so the row itself has to say that the grant is over.
pub(crate) fn ended(view: &View<'_>, subjects: &[Revoked], now: UnixMillis) -> Vec<Edit> {
    let running = view.all_grants().filter(|grant| now < grant.until && is_ended(view, subjects, grant));
    let ended = |grant: &Grant| put(view, Body::Grant(Grant { until: now.max(grant.from), ..grant.clone() }));
    running.filter_map(ended).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_lately_goes_only_for_room_and_what_is_in_force_never() {
        let now = UnixMillis(10 * 86_400_000_000);
        let row = |age_days: i64| (UnixMillis(now.0 - age_days * 86_400_000), format!("{age_days:03}"));
        let rows = || [31, 2, 29, 1, -1, 30].map(row).to_vec();
        assert_eq!(over(rows(), (now, 6)), ["031"]);
        assert_eq!(over(rows(), (now, 4)), ["031", "030"]);
        assert_eq!(over(rows(), (now, 2)), ["031", "030", "029", "002"]);
        assert_eq!(over(rows(), (now, 0)), ["031", "030", "029", "002", "001"], "one is in force");
    }
}
