//! What the metadata log says of visibility, keys and revocations, in the form that the decision reads. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use media::{ClusterId, StreamId, UnixMillis};
use metadata::{
    ChatRules, Embedding, PageSettings, RevokedTokens, TokenId, TokenKeyId, Verifier, View, ViewerDigest, Visibility,
};

use crate::VerifyingKey;
use crate::decide::AHEAD_MAX;
use crate::origin::AllowedOrigin;
use crate::token::{Signed, Verified, audience};

/// A key, and when it counts.
#[derive(Debug)]
struct Key {
    verifying: VerifyingKey,
    from: UnixMillis,
    until: UnixMillis,
}

/// What other sites may do with a stream, and its chat.
#[derive(Debug)]
struct Pages {
    settings: PageSettings,
    /// The origins of the settings that can be compared.
    allowed: Vec<AllowedOrigin>,
    /// The stream lists sites, be it that this version can read none of them: then no other site may.
    lists_sites: bool,
}

impl Pages {
    fn of(mut settings: PageSettings) -> Self {
        // Control checks origins before it writes them; one that is none allows nothing, and stands in no policy.
        let lists_sites = !settings.origins.is_empty();
        settings.origins.retain(|origin| AllowedOrigin::parse(origin).is_ok());
        let allowed = settings.origins.iter().filter_map(|origin| AllowedOrigin::parse(origin).ok()).collect();
        Self { settings, allowed, lists_sites }
    }
}

/// Which sites' scripts may read an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Those of all sites.
    AllSites,
    /// Those of the site that asks, because the stream lists it.
    ThisSite,
    /// Those of the cluster's own pages: the stream lists sites, and not this one.
    OwnPages,
}

/// A snapshot. The default knows no key and no stream: everything is public, and no token counts.
#[derive(Debug, Default)]
pub struct Rules {
    audience: String,
    /// Streams that are not public.
    visibility: BTreeMap<StreamId, Visibility>,
    /// Streams that are there, of those that this version understands; `None` in a log of before streams were in it.
    known: Option<BTreeSet<StreamId>>,
    /// Streams that are not as all are by default.
    pages: BTreeMap<StreamId, Pages>,
    keys: HashMap<TokenKeyId, Key>,
    /// Signers of tokens that are no CWTs.
    signers: HashSet<[u8; 32]>,
    /// Streams of the tenant `default` whose names could be another tenant's.
    of_default: BTreeSet<StreamId>,
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
    pub keys: Vec<Verifier>,
    /// What stands for issuers and their keys, of tokens that are no CWTs.
    pub signers: HashSet<[u8; 32]>,
    /// Streams of the tenant `default` with a dot in their names: other names with a dot are those of the tenant before it.
    pub of_default: BTreeSet<StreamId>,
    pub revoked: Vec<RevokedTokens>,
    /// Streams that are there, of those whose rows this version can read. Others are hidden: they were deleted, or the log says of them what
    /// this version cannot read. `None` in a log of before streams were in it.
    pub known: Option<BTreeSet<StreamId>>,
    /// Streams that say something about pages.
    pub pages: BTreeMap<StreamId, PageSettings>,
}

impl Facts {
    /// Nothing said yet.
    pub fn of(cluster: ClusterId) -> Self {
        Self {
            cluster,
            visibility: BTreeMap::new(),
            keys: Vec::new(),
            signers: HashSet::new(),
            of_default: BTreeSet::new(),
            revoked: Vec::new(),
            known: None,
            pages: BTreeMap::new(),
        }
    }

    /// What a log says.
    pub fn from_log(view: &View<'_>, cluster: &ClusterId) -> Self {
        let hidden = view.streams().filter(|stream| stream.visibility != Visibility::Public);
        let with_pages = view.streams().filter(|stream| stream.pages != PageSettings::default());
        let has_streams = view.has_streams_not_understood() || view.streams().next().is_some();
        let names = || view.streams().map(|stream| stream.name.clone()).collect();
        Self {
            cluster: cluster.clone(),
            visibility: hidden.map(|stream| (stream.name.clone(), stream.visibility)).collect(),
            keys: view.verifiers().cloned().collect(),
            signers: HashSet::new(),
            of_default: view.streams().filter(|row| is_of_default(row)).map(|row| row.name.clone()).collect(),
            revoked: view.token_revocations().map(|revocation| revocation.tokens.clone()).collect(),
            known: has_streams.then(names),
            pages: with_pages.map(|stream| (stream.name.clone(), stream.pages.clone())).collect(),
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
        let Facts { cluster, visibility, keys, signers, of_default, revoked, known, pages } = facts;
        let pages = pages.into_iter().map(|(stream, settings)| (stream, Pages::of(settings))).collect();
        let audience = audience(&cluster);
        let mut rules = Self { audience, visibility, signers, of_default, known, pages, ..Self::default() };
        for Verifier { key: public, from, until, tenant } in keys {
            // Control checks keys before it writes them; one that is none verifies nothing.
            if let Ok(verifying) = VerifyingKey::of_tenant(&public, tenant) {
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

    /// Who may watch a stream. One that was deleted is for nobody any more, whatever nodes hold of it; nor is one public of which the log may
    /// say what this version cannot read.
    pub fn visibility(&self, stream: &StreamId) -> Visibility {
        match self.visibility.get(stream) {
            Some(visibility) => *visibility,
            None if self.is_gone(stream) => Visibility::Token,
            None => Visibility::Public,
        }
    }

    /// Whether the log has streams, and this one is none of them that this version understands.
    pub fn is_gone(&self, stream: &StreamId) -> bool {
        self.known.as_ref().is_some_and(|known| !known.contains(stream))
    }

    /// Whether lists for everybody show a stream.
    pub fn is_listed(&self, stream: &StreamId) -> bool {
        self.visibility(stream) == Visibility::Public
    }

    /// Which sites' scripts may read what a stream has. `origin` is what the request says of its page, and nothing where that is one of
    /// this server's own.
    pub fn readers(&self, stream: &StreamId, origin: Option<&str>) -> Readers {
        match self.pages.get(stream) {
            Some(pages) if pages.lists_sites => {
                let is_listed = origin.is_some_and(|origin| AllowedOrigin::is_one_of(&pages.allowed, origin));
                if is_listed { Readers::ThisSite } else { Readers::OwnPages }
            }
            _ => Readers::AllSites,
        }
    }

    /// Which sites may show a stream's player in a frame: the sources of `frame-ancestors` (CSP 3, 6.4.2). Always the server's own.
    pub fn frame_ancestors(&self, stream: &StreamId) -> String {
        let Some(Pages { settings, .. }) = self.pages.get(stream) else { return "'self'".to_owned() };
        match settings.embed {
            Embedding::Nowhere => "'self'".to_owned(),
            Embedding::Anywhere => "*".to_owned(),
            Embedding::Listed => {
                let listed = settings.origins.iter().map(String::as_str);
                ["'self'"].into_iter().chain(listed).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// The chat of a stream; `None` when it has none.
    pub fn chat(&self, stream: &StreamId) -> Option<ChatRules> {
        self.pages.get(stream)?.settings.chat
    }

    /// The key that a token names.
    pub fn key(&self, id: TokenKeyId) -> Option<&VerifyingKey> {
        self.keys.get(&id).map(|key| &key.verifying)
    }

    /// How tokens name this cluster.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Slug of the tenant that owns a stream; `None` for the tenant `default`. Its name says it, whether it is there or not.
    pub fn owner<'s>(&self, stream: &'s StreamId) -> Option<&'s str> {
        let (slug, _) = stream.as_str().split_once('.')?;
        (!self.of_default.contains(stream)).then_some(slug)
    }

    /// Whether the key that verified a token counts still.
    pub(crate) fn has_key(&self, token: &Verified, at: UnixMillis) -> bool {
        match &token.signed {
            Signed::Key { id, public } => self.keys.get(id).is_some_and(|key| {
                let is_same = key.verifying.public() == public && key.verifying.tenant() == token.tenant.as_deref();
                is_same && key.from <= at.plus(AHEAD_MAX) && at < key.until
            }),
            Signed::Elsewhere(signer) => self.signers.contains(signer),
        }
    }

    /// Whether what verified a token elsewhere is still what counts: its settings or its key may have changed.
    pub fn knows(&self, token: &Verified) -> bool {
        matches!(&token.signed, Signed::Elsewhere(signer) if self.signers.contains(signer))
    }

    pub(crate) fn is_token_revoked(&self, token: &Verified) -> bool {
        let up_to = token.viewer.and_then(|viewer| self.viewers.get(&viewer));
        self.tokens.contains(&token.claims.jti.within(token.tenant.as_deref()))
            || up_to.is_some_and(|up_to| token.claims.ver <= *up_to)
    }

    pub(crate) fn is_stream_revoked(&self, stream: &StreamId, token: &Verified) -> bool {
        self.streams.get(stream).is_some_and(|up_to| token.claims.nbf <= *up_to)
    }
}

fn is_of_default(row: &metadata::StreamSettings) -> bool {
    row.tenant.is_none() && row.name.as_str().contains('.')
}
