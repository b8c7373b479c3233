//! Grants and revocations: rows of the metadata log, and nothing else. Control signs them with its own key.

use std::time::Duration;

use media::{NodeId, StreamId, UnixMillis};
use messages::Role;
use metadata::{Body, Edit, EntrySequence, Grant, Member, Revoked, Scope, View, kind};
use seal::limits::{CLOCK_AHEAD_MAX, GRANTS_PER_NODE_MAX, LIVE_AGE_MAX};
use seal::{KeyId, PublicKey};
use serde::Serialize;

use crate::ControlState;
use crate::rows::{POOL, ended, forget_old, its_streams, pool_of, put, revocation};

/// A grant is valid from this long before its request, because nodes' clocks differ.
const BACKDATE: Duration = Duration::from_secs(60);

/// A grant as `/cluster/v1/admin/keys` lists it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GrantInfo {
    key: String,
    node: NodeId,
    /// Pools whose streams it may seal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pools: Vec<String>,
    /// Streams that it may seal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<StreamId>,
    not_before: UnixMillis,
    not_after: UnixMillis,
}

/// Why a grant was not given, or a key not revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("key {0} is revoked: stop this ingest, move sealing.key out of its data directory, and start it again")]
    Revoked(KeyId),
    #[error(
        "node {0} is revoked, and its certificate opens nothing any more: give the machine an identity with another name \
         (sealcast certs cluster --node NAME=ROLE)"
    )]
    NodeRevoked(NodeId),
    #[error("{0} is no member of this cluster yet: it has to say what it is first, or be added (sealcast node add)")]
    NoMember(NodeId),
    #[error("key {key} belongs to node {owner}: every ingest needs a key of its own, so do not copy sealing.key")]
    OtherNode { key: KeyId, owner: NodeId },
    #[error(
        "node {node} has {keys} keys granted already, which is the most: revoke those that it does not use any more \
         (sealcast key list, sealcast key revoke KEY)"
    )]
    TooManyKeys { node: NodeId, keys: usize },
    #[error("streamer {0} has no stream: give it one (sealcast streamer add {0} --stream STREAM)")]
    NoStream(NodeId),
    #[error("no grant was given to key {0}")]
    Unknown(String),
    #[error(transparent)]
    Seal(#[from] seal::Error),
    #[error(transparent)]
    Log(#[from] anyhow::Error),
}

/// For how long a key may have been in wrong hands before it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misuse {
    /// It was not: what it sealed stays.
    None,
    /// For this long: what it sealed since then is withdrawn.
    For(Duration),
}

impl Misuse {
    /// The time of the revocation's row. A thief can state an earlier time in a seal than the true one, by [`LIVE_AGE_MAX`]. A key that
    /// nobody misused has signed nothing with a time after its revocation, as far as clocks agree.
    fn since(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::None => now.plus(2 * CLOCK_AHEAD_MAX),
            Self::For(time) => now.minus(time.saturating_add(LIVE_AGE_MAX)),
        }
    }
}

impl ControlState {
    /// Grants a node's key what the node may seal, from now on for the configured time. Returns the entry that says so: the one that
    /// is there, if it says the same for long enough.
    ///
    /// # Errors
    /// With the reason why the node gets no grant for this key.
    pub(crate) async fn grant(&self, node: &NodeId, public_key: &[u8]) -> Result<EntrySequence, Error> {
        PublicKey::from_bytes(public_key)?;
        let (key, now) = (KeyId::of(public_key), self.node.clock.wall());
        let mut outcome = Ok(None);
        let edits = |view: View<'_>| {
            outcome = self.next_grant(&view, node, public_key, now);
            let Ok(Some(grant)) = &outcome else { return Vec::new() };
            // First, so that there is room.
            let mut edits: Vec<Edit> = forget_old(&view, now);
            edits.extend(put(&view, Body::Grant(grant.clone())));
            edits
        };
        let newest = self.writer.write(edits).await?;
        if let Some(grant) = outcome? {
            tracing::info!(%key, %node, scope = ?grant.scope, "key granted");
        }
        let name = key.to_string();
        Ok(self.writer.log().look(|view| view.written_by(kind::GRANT, &name)).unwrap_or(newest))
    }

    /// The grant that has to be written; `None` when the one that is there will do.
    fn next_grant(
        &self,
        view: &View<'_>,
        node: &NodeId,
        public_key: &[u8],
        now: UnixMillis,
    ) -> Result<Option<Grant>, Error> {
        let key = KeyId::of(public_key);
        if view.is_node_revoked(node) {
            return Err(Error::NodeRevoked(node.clone()));
        }
        if view.is_key_revoked(&key) {
            return Err(Error::Revoked(key));
        }
        let member = view.member(node).filter(|member| member.role == Role::Ingest);
        let member = member.ok_or_else(|| Error::NoMember(node.clone()))?;
        let known = view.any_grant(&key);
        if let Some(other) = known.filter(|known| known.node != *node) {
            return Err(Error::OtherNode { key, owner: other.node.clone() });
        }
        let scope = self.scope_of(view, member)?;
        // A key that is renewed takes no further place.
        let others = view.grants(now).filter(|grant| grant.node == *node && grant.key_id() != key).count();
        if others >= GRANTS_PER_NODE_MAX {
            return Err(Error::TooManyKeys { node: node.clone(), keys: others });
        }
        let life = Duration::from_secs(self.rules.grant_hours.saturating_mul(3_600));
        let may_delegate = member.is_guest;
        let says_so = |known: &Grant| known.scope == scope && known.may_delegate == may_delegate;
        let is_enough = |known: &Grant| says_so(known) && known.until.since(now) > life / 4 * 3;
        if known.is_some_and(is_enough) {
            return Ok(None);
        }
        let (from, until) = (now.minus(BACKDATE), now.plus(life));
        let public_key = public_key.to_vec();
        Ok(Some(Grant { public_key, node: node.clone(), scope, may_delegate, from, until }))
    }

    /// What an ingest may seal: the pools that it serves, or a streamer's own streams.
    fn scope_of(&self, view: &View<'_>, member: &Member) -> Result<Scope, Error> {
        if member.is_guest {
            let pool = pool_of(&member.node);
            let streams: Vec<StreamId> =
                view.streams().filter(|stream| stream.pool == pool).map(|stream| stream.name.clone()).collect();
            return if streams.is_empty() { Err(Error::NoStream(member.node.clone())) } else { Ok(sorted(streams)) };
        }
        let pools = self.ingest_pools.get(&member.node).cloned();
        Ok(Scope::Pools(pools.unwrap_or_else(|| vec![POOL.to_owned()])))
    }

    /// The edits that make the grants in force say what their nodes may seal now: the configuration may have changed, or a streamer's
    /// stream was deleted. The grant of a streamer without streams is over.
    pub(crate) fn rescoped(&self, view: &View<'_>, now: UnixMillis) -> Vec<Edit> {
        let edit = |grant: &Grant| {
            let member = view.member(&grant.node)?;
            let may_delegate = member.is_guest;
            let grant = match self.scope_of(view, member) {
                Ok(scope) if scope == grant.scope && may_delegate == grant.may_delegate => return None,
                Ok(scope) => Grant { scope, may_delegate, ..grant.clone() },
                Err(_) => Grant { until: now.max(grant.from), ..grant.clone() },
            };
            put(view, Body::Grant(grant))
        };
        view.grants(now).filter_map(edit).collect()
    }

    /// Whether a node may seal a stream, once it has a grant: it is told of no other.
    pub(crate) fn serves(&self, node: &NodeId, stream: &StreamId) -> bool {
        self.writer.log().look(|view| {
            let Some(member) = view.member(node) else { return false };
            let pool = view.stream(stream).map(|stream| stream.pool.as_str());
            self.scope_of(&view, member).is_ok_and(|scope| scope.covers(stream, pool))
        })
    }

    /// Grants in force, for display.
    pub(crate) fn grant_infos(&self) -> Vec<GrantInfo> {
        let now = self.node.clock.wall();
        let info = |grant: &Grant| {
            let (pools, streams) = match &grant.scope {
                Scope::Pools(pools) => (pools.clone(), Vec::new()),
                Scope::Streams(streams) => (Vec::new(), streams.clone()),
            };
            let (key, node) = (grant.key_id().to_string(), grant.node.clone());
            GrantInfo { key, node, pools, streams, not_before: grant.from, not_after: grant.until }
        };
        let mut infos: Vec<GrantInfo> = self.writer.log().look(|view| view.grants(now).map(info).collect());
        infos.sort_by(|a, b| a.key.cmp(&b.key));
        infos
    }

    /// Revokes a key that was granted. A key that is revoked already can be revoked with an earlier [`Misuse`].
    ///
    /// # Errors
    /// When no such key was granted, or it is revoked already.
    pub(crate) async fn revoke_key(&self, key: &str, misuse: Misuse) -> Result<EntrySequence, Error> {
        let known = self.writer.log().look(|view| {
            let found = view.all_grants().map(Grant::key_id).find(|id| id.to_string() == key);
            found.filter(|id| misuse != Misuse::None || view.grant(id).is_some())
        });
        let id = known.ok_or_else(|| Error::Unknown(key.to_owned()))?;
        Ok(self.write_revocations(vec![Revoked::Key(id)], misuse).await?)
    }

    /// Revokes a node: control refuses its certificate, and no node accepts its keys any more. The node may never have been seen.
    /// Revoking it again is no error. Returns the keys that it had until now, too.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(crate) async fn revoke_node(
        &self,
        node: &NodeId,
        misuse: Misuse,
    ) -> anyhow::Result<(EntrySequence, Vec<KeyId>)> {
        let keys: Vec<KeyId> = self.writer.log().look(|view| {
            view.all_grants()
                .filter(|grant| grant.node == *node)
                .map(Grant::key_id)
                .filter(|key| view.grant(key).is_some())
                .collect()
        });
        let subjects = keys.iter().copied().map(Revoked::Key).chain([Revoked::Node(node.clone())]);
        let sequence = self.write_revocations(subjects.collect(), misuse).await?;
        // The streams of a streamer that is gone go back to the shared ingests.
        let sequence = sequence.max(self.writer.write(|view| self.returned(&view, &its_streams(&view, node))).await?);
        Ok((sequence, keys))
    }

    async fn write_revocations(&self, subjects: Vec<Revoked>, misuse: Misuse) -> anyhow::Result<EntrySequence> {
        let now = self.node.clock.wall();
        let since = misuse.since(now);
        let edits = |view: View<'_>| {
            // Of what is revoked already, only the time can become an earlier one.
            let is_later = |subject: &Revoked| view.revoked_since(subject).is_none_or(|known| since < known);
            let over = ended(&view, &subjects, now);
            let new = subjects.into_iter().filter(is_later).map(|subject| revocation(subject, since, ""));
            new.filter_map(|row| put(&view, row)).chain(over).collect()
        };
        self.writer.write(edits).await
    }
}

fn sorted(mut streams: Vec<StreamId>) -> Scope {
    streams.sort();
    Scope::Streams(streams)
}
