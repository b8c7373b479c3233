//! Delegations: a streamer who has no ingest running lets a shared one seal a session of its stream. The streamer signs, control checks
//! and writes a row of the metadata log, and every node checks again.

use std::collections::BTreeSet;

use media::{NodeId, StreamId, UnixMillis};
use messages::{Delegate, Delegates};
use metadata::{Body, EntrySequence, Grant, View, kind};
use seal::limits::CLOCK_AHEAD_MAX;
use seal::{PublicKey, SignedDelegation};

use crate::ControlState;
use crate::rows::{forget_old, put};

/// Most delegations of one streamer that are in force: a session each for all its streams, and those that were made again.
const PER_STREAMER_MAX: usize = 64;

/// Why a delegation was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} is no streamer of this cluster: only a streamer delegates its streams")]
    NoStreamer(NodeId),
    #[error("the key that signed the delegation has no grant of {0}: ask for one first")]
    NoGrant(NodeId),
    #[error("stream {stream} is none of streamer {node}")]
    OtherStream { node: NodeId, stream: StreamId },
    #[error("the delegation is not signed by the key that it names")]
    Signature,
    #[error("the delegation is for another cluster than {0}")]
    OtherCluster(media::ClusterId),
    #[error(
        "the delegation is not valid now, or longer than 12 hours or the streamer's own grant, which ends at {until}"
    )]
    Times { until: UnixMillis },
    #[error("no shared ingest has key {0}: sealcast streamer delegate shows which there are")]
    NoIngest(seal::KeyId),
    #[error("session {0} was delegated before: draw another")]
    Used(media::SessionId),
    #[error("streamer {0} has {PER_STREAMER_MAX} delegations in force, which is the most: wait until some end")]
    TooMany(NodeId),
    #[error(transparent)]
    Malformed(#[from] seal::Refusal),
    #[error(transparent)]
    Log(#[from] anyhow::Error),
}

impl ControlState {
    /// The shared ingests to which a streamer can delegate, and until when its own grants last.
    ///
    /// # Errors
    /// When the node is no streamer.
    pub(crate) fn delegates(&self, node: &NodeId) -> Result<Delegates, Error> {
        let now = self.node.clock.wall();
        self.writer.log().look(|view| {
            ensure_streamer(&view, node)?;
            let its = view.grants(now).filter(|grant| grant.node == *node).map(|grant| grant.until);
            let shared = view.grants(now).filter(|grant| is_shared(&view, grant));
            let delegate = |grant: &Grant| Delegate { node: grant.node.clone(), key: grant.key_id().to_string() };
            let mut ingests: Vec<Delegate> = shared.map(delegate).collect();
            ingests.sort_by(|a, b| (&a.node, &a.key).cmp(&(&b.node, &b.key)));
            Ok(Delegates { granted_until: its.max().unwrap_or(now), ingests })
        })
    }

    /// Writes what a streamer has signed. Returns the stream with the entry.
    ///
    /// # Errors
    /// With the reason why no node would believe it.
    pub(crate) async fn delegate(&self, node: &NodeId, raw: &[u8]) -> Result<(StreamId, EntrySequence), Error> {
        let signed = SignedDelegation::read(raw)?;
        let now = self.node.clock.wall();
        let mut outcome = Ok(());
        let edits = |view: View<'_>| {
            outcome = self.check_delegation(&view, (node, &signed), now);
            if outcome.is_err() {
                return Vec::new();
            }
            // First, so that there is room.
            forget_old(&view, now).into_iter().chain(put(&view, Body::Delegation(signed.clone()))).collect()
        };
        let sequence = self.writer.write(edits).await?;
        outcome?;
        let delegation = signed.delegation();
        tracing::info!(%node, stream = %delegation.stream, key = %delegation.key, session = %delegation.session, until = %delegation.until, "session delegated");
        Ok((delegation.stream.clone(), sequence))
    }

    fn check_delegation(
        &self,
        view: &View<'_>,
        (node, signed): (&NodeId, &SignedDelegation),
        now: UnixMillis,
    ) -> Result<(), Error> {
        let delegation = signed.delegation();
        ensure_streamer(view, node)?;
        let is_its = |grant: &&Grant| grant.key_id() == signed.signer() && grant.node == *node && grant.may_delegate;
        let grant = view.grants(now).find(is_its).ok_or_else(|| Error::NoGrant(node.clone()))?;
        if delegation.cluster != self.node.cluster {
            return Err(Error::OtherCluster(self.node.cluster.clone()));
        }
        let pool = view.stream(&delegation.stream).map(|stream| stream.pool.as_str());
        if pool.is_none() || !grant.scope.covers(&delegation.stream, pool) {
            return Err(Error::OtherStream { node: node.clone(), stream: delegation.stream.clone() });
        }
        let public = PublicKey::from_bytes(&grant.public_key).map_err(|_| Error::Signature)?;
        if !signed.is_signed_by(&public) {
            return Err(Error::Signature);
        }
        let is_now = delegation.is_bounded() && delegation.from <= now.plus(CLOCK_AHEAD_MAX) && now < delegation.until;
        if !is_now || delegation.until > grant.until {
            return Err(Error::Times { until: grant.until });
        }
        if !view.grant(&delegation.key).is_some_and(|grant| now < grant.until && is_shared(view, grant)) {
            return Err(Error::NoIngest(delegation.key));
        }
        if view.row_id(kind::DELEGATION, &delegation.session.to_string()).is_some() {
            return Err(Error::Used(delegation.session));
        }
        let is_in_force =
            |other: &&SignedDelegation| other.signer() == signed.signer() && now < other.delegation().until;
        if view.delegations().filter(is_in_force).count() >= PER_STREAMER_MAX {
            return Err(Error::TooMany(node.clone()));
        }
        Ok(())
    }

    /// The streams of which streamers let a node seal a session now: it is told their keys.
    pub(crate) fn delegated_streams(&self, node: &NodeId) -> BTreeSet<StreamId> {
        let now = self.node.clock.wall();
        self.writer.log().look(|view| {
            let is_its = |signed: &&SignedDelegation| {
                let delegation = signed.delegation();
                let may = view.grant(&signed.signer()).filter(|grant| now < grant.until && grant.may_delegate);
                let has_key = view.grant(&delegation.key).is_some_and(|grant| grant.node == *node);
                let is_right = may.is_some_and(|grant| grant.scope.covers(&delegation.stream, None));
                has_key && is_right && now < delegation.until
            };
            view.delegations().filter(is_its).map(|signed| signed.delegation().stream.clone()).collect()
        })
    }
}

fn ensure_streamer(view: &View<'_>, node: &NodeId) -> Result<(), Error> {
    let is_one = view.member(node).is_some_and(|member| member.is_guest);
    if is_one { Ok(()) } else { Err(Error::NoStreamer(node.clone())) }
}

/// Whether a grant is that of a shared ingest.
fn is_shared(view: &View<'_>, grant: &Grant) -> bool {
    view.member(&grant.node).is_some_and(|member| !member.is_guest)
}
