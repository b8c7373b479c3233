//! What the metadata log says of visibility, keys and revocations, in the form that the decision reads. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use media::{ClusterId, StreamId, UnixMillis};
use metadata::{RevokedTokens, TokenId, TokenKeyId, View, ViewerDigest, Visibility};

use crate::VerifyingKey;
use crate::decide::AHEAD_MAX;
use crate::token::{Verified, audience};

/// A key, and when it counts.
#[derive(Debug)]
struct Key {
    verifying: VerifyingKey,
    from: UnixMillis,
    until: UnixMillis,
}

/// A snapshot. The default knows no key and no stream: everything is public, and no token counts.
#[derive(Debug, Default)]
pub struct Rules {
    audience: String,
    /// Streams that are not public.
    visibility: BTreeMap<StreamId, Visibility>,
    /// Where the log has rows of streams that this version does not understand: the streams that it does understand.
    understood: Option<BTreeSet<StreamId>>,
    keys: HashMap<TokenKeyId, Key>,
    tokens: HashSet<TokenId>,
    viewers: HashMap<ViewerDigest, u64>,
    /// Up to which second of `nbf` tokens do not count for a stream.
    streams: HashMap<StreamId, u64>,
}

/// What rules are made of.
#[derive(Debug)]
pub struct Facts {
    pub cluster: ClusterId,
    /// Streams that are not public.
    pub visibility: BTreeMap<StreamId, Visibility>,
    /// Public keys, and from when until when each counts.
    pub keys: Vec<([u8; 32], UnixMillis, UnixMillis)>,
    pub revoked: Vec<RevokedTokens>,
    /// Where there are rows of streams that this version cannot read: the streams that it can read. Others are hidden.
    pub understood: Option<BTreeSet<StreamId>>,
}

impl Facts {
    /// Nothing said yet.
    pub const fn of(cluster: ClusterId) -> Self {
        Self { cluster, visibility: BTreeMap::new(), keys: Vec::new(), revoked: Vec::new(), understood: None }
    }

    /// What a log says.
    pub fn from_log(view: &View<'_>, cluster: &ClusterId) -> Self {
        let hidden = view.streams().filter(|stream| stream.visibility != Visibility::Public);
        let names = || view.streams().map(|stream| stream.name.clone()).collect();
        Self {
            cluster: cluster.clone(),
            visibility: hidden.map(|stream| (stream.name.clone(), stream.visibility)).collect(),
            keys: view.verifiers().map(|verifier| (verifier.key, verifier.from, verifier.until)).collect(),
            revoked: view.token_revocations().map(|revocation| revocation.tokens.clone()).collect(),
            understood: view.has_streams_not_understood().then(names),
        }
    }
}

impl Rules {
    /// The rules of a log.
    pub fn of(view: &View<'_>, cluster: &ClusterId) -> Self {
        Self::from_facts(Facts::from_log(view, cluster))
    }

    /// The rules that follow from facts.
    pub fn from_facts(facts: Facts) -> Self {
        let Facts { cluster, visibility, keys, revoked, understood } = facts;
        let mut rules = Self { audience: audience(&cluster), visibility, understood, ..Self::default() };
        for (public, from, until) in keys {
            // Control checks keys before it writes them; one that is none verifies nothing.
            if let Ok(verifying) = VerifyingKey::new(&public) {
                rules.keys.insert(TokenKeyId::of(&public), Key { verifying, from, until });
            }
        }
        for tokens in revoked {
            match tokens {
                RevokedTokens::Token(id) => _ = rules.tokens.insert(id),
                RevokedTokens::Viewer { viewer, up_to_ver } => {
                    let known = rules.viewers.entry(viewer).or_default();
                    *known = (*known).max(up_to_ver);
                }
                RevokedTokens::Stream { stream, up_to_nbf_s } => {
                    let known = rules.streams.entry(stream).or_default();
                    *known = (*known).max(up_to_nbf_s);
                }
            }
        }
        rules
    }

    /// Who may watch a stream. A stream of which the log may say what this version cannot read is not public.
    pub fn visibility(&self, stream: &StreamId) -> Visibility {
        match self.visibility.get(stream) {
            Some(visibility) => *visibility,
            None if self.understood.as_ref().is_some_and(|known| !known.contains(stream)) => Visibility::Token,
            None => Visibility::Public,
        }
    }

    /// Whether lists for everybody show a stream.
    pub fn is_listed(&self, stream: &StreamId) -> bool {
        self.visibility(stream) == Visibility::Public
    }

    /// The key that a token names.
    pub fn key(&self, id: TokenKeyId) -> Option<&VerifyingKey> {
        self.keys.get(&id).map(|key| &key.verifying)
    }

    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    /// Whether the key that verified a token counts still.
    pub(crate) fn has_key(&self, token: &Verified, at: UnixMillis) -> bool {
        self.keys.get(&token.key).is_some_and(|key| {
            *key.verifying.public() == token.public && key.from <= at.plus(AHEAD_MAX) && at < key.until
        })
    }

    pub(crate) fn is_token_revoked(&self, token: &Verified) -> bool {
        let up_to = token.viewer.and_then(|viewer| self.viewers.get(&viewer));
        self.tokens.contains(&token.claims.jti) || up_to.is_some_and(|up_to| token.claims.ver <= *up_to)
    }

    pub(crate) fn is_stream_revoked(&self, stream: &StreamId, token: &Verified) -> bool {
        self.streams.get(stream).is_some_and(|up_to| token.claims.nbf <= *up_to)
    }
}
