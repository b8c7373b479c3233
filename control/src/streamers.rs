//! Streamers: ingests that stand beside an encoder, and seal a few streams and no others. A streamer is a member that is a guest, and
//! its streams are in a pool of its own, so that no shared ingest seals them.

use media::{NodeId, StreamId};
use messages::{MacForm, Role};
use metadata::limits::SCOPE_MAX;
use metadata::{Body, Edit, EntrySequence, Grant, Member, Scope, View};
use serde::Serialize;

use crate::ControlState;
use crate::members::{Listed, NotAdmitted};
use crate::rows::{POOL, STREAMER_POOL, its_streams, moved, pool_of, put};

/// A streamer, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StreamerView {
    node: NodeId,
    streams: Vec<StreamId>,
}

/// Why a streamer was not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no stream {0}: make it first (sealcast stream create {0})")]
    NoStream(StreamId),
    #[error("stream {stream} is that of streamer {owner}: remove that one first (sealcast streamer remove {owner})")]
    Taken { stream: StreamId, owner: String },
    #[error(
        "the key of stream {0} was made by an older version, and what recognises it would let a streamer guess at the keys of others: give \
         the stream another first (sealcast stream rotate-key {0})"
    )]
    OldKey(StreamId),
    #[error("name 1 to {SCOPE_MAX} streams")]
    Count,
    #[error("{0} is a shared ingest of this cluster: give the streamer another name")]
    NoGuest(NodeId),
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
}

impl ControlState {
    /// Makes a node a streamer with these streams and no others; a streamer that is there has these from now on.
    ///
    /// # Errors
    /// With the reason why the node or a stream cannot be had.
    pub(crate) async fn add_streamer(&self, listed: Listed, streams: &[StreamId]) -> Result<EntrySequence, Error> {
        for stream in self.catalogue.streams().await.map_err(|error| NotAdmitted::Log(error.into()))? {
            if stream.key.form == MacForm::OfAll && streams.contains(&stream.name) {
                return Err(Error::OldKey(stream.name));
            }
        }
        let mut outcome = Ok(());
        let edits = |view: View<'_>| {
            outcome = check(&view, &listed, streams);
            if outcome.is_err() {
                return Vec::new();
            }
            let pool = pool_of(&listed.node);
            let given = streams.iter().filter_map(|name| moved(&view, name, &pool));
            let mut returned = its_streams(&view, &listed.node);
            returned.retain(|name| !streams.contains(name));
            let returned = self.returned(&view, &returned);
            let (node, spki) = (listed.node.clone(), vec![listed.spki]);
            let level = view.any_member(&node).map_or(0, |known| known.level);
            let member = Member { node, role: Role::Ingest, is_guest: true, spki, public_url: None, level };
            // Its keys seal the new streams at once, and nothing that it gave back.
            let mut scope: Vec<StreamId> = streams.to_vec();
            scope.sort();
            let now = self.node.clock.wall();
            let its = view.grants(now).filter(|grant| grant.node == listed.node);
            let grants =
                its.map(|grant| Grant { scope: Scope::Streams(scope.clone()), may_delegate: true, ..grant.clone() });
            let grants: Vec<Edit> = grants.filter_map(|grant| put(&view, Body::Grant(grant))).collect();
            given.chain(returned).chain(grants).chain(put(&view, Body::Member(member))).collect()
        };
        let sequence = self.writer.write(edits).await.map_err(NotAdmitted::Log)?;
        outcome.map(|()| sequence)
    }

    /// The edits that give streams of a streamer back to the shared ingests: to those of the configured pool.
    pub(crate) fn returned(&self, view: &View<'_>, streams: &[StreamId]) -> Vec<Edit> {
        let pool = |name: &StreamId| self.stream_pools.get(name).map_or(POOL, String::as_str);
        streams.iter().filter_map(|name| moved(view, name, pool(name))).collect()
    }

    /// Says which streams of streamers have keys of before, which their ingests do not get.
    pub(crate) async fn name_old_keys(&self) -> anyhow::Result<()> {
        for stream in self.catalogue.streams().await? {
            let pool = self.writer.log().look(|view| view.stream(&stream.name).map(|row| row.pool.clone()));
            if stream.key.form == MacForm::OfAll && pool.is_some_and(|pool| pool.starts_with(STREAMER_POOL)) {
                let name = &stream.name;
                tracing::warn!(stream = %name, "its key was made by an older version, and its streamer's ingest does not get it: give it another (sealcast stream rotate-key {name})");
            }
        }
        Ok(())
    }

    /// All streamers that are not revoked.
    pub(crate) fn streamers(&self) -> Vec<StreamerView> {
        self.writer.log().look(|view| {
            let guests = view.members().filter(|member| member.is_guest);
            let view_of = |node: NodeId| StreamerView { streams: its_streams(&view, &node), node };
            let mut streamers: Vec<StreamerView> = guests.map(|member| view_of(member.node.clone())).collect();
            streamers.sort_by(|a, b| a.node.cmp(&b.node));
            streamers
        })
    }
}

fn check(view: &View<'_>, listed: &Listed, streams: &[StreamId]) -> Result<(), Error> {
    let node = listed.node.clone();
    if streams.is_empty() || streams.len() > SCOPE_MAX {
        return Err(Error::Count);
    }
    match view.any_member(&node) {
        _ if view.was_member(&node) => return Err(NotAdmitted::Gone { node }.into()),
        _ if view.is_node_revoked(&node) => return Err(NotAdmitted::Revoked { node }.into()),
        Some(known) if known.role != Role::Ingest || listed.role != Role::Ingest => {
            return Err(NotAdmitted::OtherRole { node, role: known.role }.into());
        }
        Some(known) if !known.is_guest => return Err(Error::NoGuest(node)),
        _ => {}
    }
    let own = pool_of(&node);
    for name in streams {
        let stream = view.stream(name).ok_or_else(|| Error::NoStream(name.clone()))?;
        let other = stream.pool.strip_prefix(STREAMER_POOL).filter(|_| stream.pool != own);
        if let Some(owner) = other {
            return Err(Error::Taken { stream: name.clone(), owner: owner.to_owned() });
        }
    }
    Ok(())
}
