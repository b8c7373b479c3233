//! Rows of the metadata log, and the edits that write them. Pure, except for identities and salts.

use std::time::Duration;

use media::{NodeId, StreamId, UnixMillis};
use metadata::{Body, Edit, Grant, Revocation, Revoked, RowId, StreamSettings, View, kind};
use seal::KeyId;

/// Pool of streams that nobody has put into another.
pub(crate) const POOL: &str = "default";
/// For how long a grant stays in the log after its end: recordings that were sealed under it have expired by then.
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

/// The edits that remove grants which ended long ago. A revoked one stays until then: where a log of its key ends has to be known for
/// the next key to go on.
pub(crate) fn forget_old(view: &View<'_>, now: UnixMillis) -> Vec<Edit> {
    let over = view.all_grants().filter(|grant| now.since(grant.until) > KEPT);
    let edits = over.filter_map(|grant| {
        let id = view.row_id(kind::GRANT, &grant.key_id().to_string())?;
        Some(Edit { id, kind: kind::GRANT, body: None, salt: [0; 16] })
    });
    edits.collect()
}

pub(crate) fn its_streams(view: &View<'_>, node: &NodeId) -> Vec<StreamId> {
    let pool = pool_of(node);
    let mut streams: Vec<StreamId> =
        view.streams().filter(|stream| stream.pool == pool).map(|stream| stream.name.clone()).collect();
    streams.sort();
    streams
}

/// The edits that give the streams of a streamer back to the shared ingests.
pub(crate) fn returned(view: &View<'_>, node: &NodeId) -> Vec<Edit> {
    its_streams(view, node).iter().filter_map(|name| moved(view, name, POOL)).collect()
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
