//! Viewer tokens: the keys that sign them, one or more of each tenant, and what is taken back. Nodes verify tokens by themselves, so whoever has one watches on
//! while control is away.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::token::{LIFE_S_MAX, NotMade, STREAMS_MAX, audience};
use access::{AllowedOrigin, Claims, InvalidOrigin, KeyRefused, Named, Streams, TokenKey};
use anyhow::{Context as _, Result};
use catalogue::{Id, Kind, Noted, PublicKey, SigningKey, Tenant};
use media::{StreamId, UnixMillis};
use metadata::limits::rows_max;
use metadata::{
    Body, Edit, EntrySequence, RevokedTokens, TokenId, TokenRevocation, Verifier, View, ViewerDigest, Visibility, kind,
};
use node::files;
use serde_json::json;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::ControlState;
use crate::rows::put;

/// File of the one key that control had before tenants had keys of their own.
const OLD_KEY_FILE: &str = "viewer-tokens.key";
/// How long a key signs, and its tokens are verified.
pub(crate) const KEY_LIFE: Duration = Duration::from_secs(400 * 86_400);
/// A key that ends in less than this signs nothing more: its last token would outlive it.
const KEY_RENEWAL: Duration = Duration::from_secs(2 * LIFE_S_MAX);
/// How long a revocation stays in the log: until the longest token has ended, also by a clock that is a minute behind.
const REVOCATION_LIFE: Duration = Duration::from_secs(LIFE_S_MAX + 60);
/// Life of a token when nobody says another one.
pub(crate) const TTL_S: u64 = 3_600;

/// The keys that sign here, by their identities, once somebody has asked for a token.
#[derive(Default)]
pub(crate) struct TokenKeys {
    known: Mutex<BTreeMap<Id, Arc<TokenKey>>>,
}

/// What a token is to say.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Names of streams; `*` alone for all.
    pub(crate) streams: Vec<String>,
    pub(crate) sub: Option<String>,
    pub(crate) ttl_s: Option<u64>,
    pub(crate) admit_for_s: Option<u64>,
    pub(crate) ver: Option<u64>,
    pub(crate) origins: Vec<String>,
    pub(crate) strict: bool,
    pub(crate) max_viewers: Option<u64>,
    pub(crate) chat: bool,
}

/// A token that was made.
pub(crate) struct Made {
    pub(crate) token: String,
    pub(crate) claims: Claims,
    /// First of the streams that it names; `None` for all.
    pub(crate) stream: Option<StreamId>,
    /// The entry that nodes need to verify it, when it is new.
    pub(crate) new_key: Option<EntrySequence>,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    #[error(transparent)]
    NotMade(#[from] NotMade),
    #[error("a token lives for 1 to {LIFE_S_MAX} seconds")]
    Life,
    #[error("name the streams that the token opens, or * alone for all of the tenant")]
    NoStream,
    #[error("a token names at most {STREAMS_MAX} streams: use * alone for all of the tenant")]
    TooManyStreams,
    /// Also a stream of another tenant.
    #[error("there is no such stream")]
    NotFound,
    #[error("the log has {0} revocations of tokens, the most: they go a day after they were made")]
    Full(usize),
    #[error("the key of viewer tokens cannot be had")]
    Key(#[source] anyhow::Error),
    #[error(transparent)]
    Log(anyhow::Error),
}

impl ControlState {
    /// Makes a token of a tenant.
    ///
    /// # Errors
    /// When what it is to say cannot be said, the tenant has no such stream, or the key cannot be had.
    pub(crate) async fn make_token(&self, tenant: &Tenant, wanted: Wanted) -> Result<Made, Error> {
        let streams = self.named(tenant, &wanted.streams).await?;
        let origins: Vec<AllowedOrigin> =
            wanted.origins.iter().map(|origin| AllowedOrigin::parse(origin)).collect::<Result<_, _>>()?;
        let ttl_s = wanted.ttl_s.unwrap_or(TTL_S);
        if !(1..=LIFE_S_MAX).contains(&ttl_s) {
            return Err(Error::Life);
        }
        let (key, new_key) = self.token_key(tenant).await?;
        let slug = slug_of(tenant);
        let now_s = u64::try_from(self.node.clock.wall().0.div_euclid(1_000)).unwrap_or(0);
        let viewer = wanted.sub.as_deref().map(|sub| ViewerDigest::within(slug, sub));
        let (nbf, ver) =
            self.writer.log().look(|view| (first_second(&view, (slug, &streams), now_s), next_version(&view, viewer)));
        let mut jti = [0; 8];
        jti.copy_from_slice(rand::random::<[u8; 16]>().split_at(8).0);
        let claims = Claims {
            sub: wanted.sub,
            aud: audience(&self.node.cluster),
            exp: now_s.saturating_add(ttl_s).max(nbf.saturating_add(1)).min(nbf.saturating_add(LIFE_S_MAX)),
            nbf,
            jti: TokenId(jti),
            streams: match &streams {
                None => Streams::All,
                Some(named) => Streams::Some(named.iter().map(Named::from).collect()),
            },
            admit_by: wanted.admit_for_s.map(|admit_s| nbf.saturating_add(admit_s.min(ttl_s))),
            ver: wanted.ver.unwrap_or(ver),
            origins,
            strict: wanted.strict,
            max_viewers: wanted.max_viewers,
            chat: wanted.chat,
        };
        let token = claims.sign(&key)?;
        Ok(Made { token, claims, stream: streams.and_then(|named| named.into_iter().next()), new_key })
    }

    /// The tenant's streams of these names; `None` for all of them.
    async fn named(&self, tenant: &Tenant, names: &[String]) -> Result<Option<Vec<StreamId>>, Error> {
        match names {
            [] => Err(Error::NoStream),
            [all] if all == "*" => Ok(None),
            names if names.len() > STREAMS_MAX => Err(Error::TooManyStreams),
            names => {
                let mut named = Vec::with_capacity(names.len());
                for name in names {
                    let found = self.catalogue.find_channel(&tenant.id, name).await?;
                    named.push(found.ok_or(Error::NotFound)?.name);
                }
                Ok(Some(named))
            }
        }
    }

    /// The key that signs a tenant's tokens now: the newest whose private part is here. Makes one at first use, and in time before the last one
    /// ends. Returns with it the entry that nodes need to verify it, when that is new.
    async fn token_key(&self, tenant: &Tenant) -> Result<(Arc<TokenKey>, Option<EntrySequence>), Error> {
        let mut known = self.token_keys.known.lock().await;
        let now = self.node.clock.wall();
        let rows = self.catalogue.signing_keys().await?;
        // Another control node may have retired one.
        known.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let signs = |row: &&SigningKey| row.tenant == tenant.id && row.not_after.since(now) >= KEY_RENEWAL;
        let mut found = None;
        for row in rows.iter().rev().filter(signs) {
            found = self.kept(&mut known, row).map_err(Error::Key)?;
            if found.is_some() {
                break;
            }
        }
        let key = match found {
            Some(key) => key,
            None => {
                let (row, key) = self.draw_token_key(tenant, String::new()).map_err(Error::Key)?;
                self.catalogue.add_signing_key(&row).await?;
                let key = Arc::new(key);
                known.insert(row.id, Arc::clone(&key));
                key
            }
        };
        // Also a key that was there may be missing in a log that was begun again.
        let is_new = self.writer.log().look(|view| view.verifiers().all(|verifier| verifier.key != key.public()));
        let sequence = if is_new { Some(self.write_log().await.map_err(Error::Log)?) } else { None };
        Ok((key, sequence))
    }

    /// The private part of a key; `None` when it is not here.
    fn kept(&self, known: &mut BTreeMap<Id, Arc<TokenKey>>, row: &SigningKey) -> Result<Option<Arc<TokenKey>>> {
        let PublicKey::Control(public) = row.public_key else { return Ok(None) };
        if let Some(key) = known.get(&row.id) {
            return Ok(Some(Arc::clone(key)));
        }
        for path in [self.token_key_file(&row.id), self.node.data.join(OLD_KEY_FILE)] {
            if path.exists() {
                let key = read_key(&path)?;
                if key.public() == public {
                    let key = Arc::new(key);
                    known.insert(row.id.clone(), Arc::clone(&key));
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    /// File of a key in control's data directory; mode 0600. Whoever has it lets anybody watch.
    fn token_key_file(&self, id: &Id) -> PathBuf {
        self.node.data.join(format!("viewer-tokens.{id}.key"))
    }

    /// Makes a key for a tenant, whose row nobody has yet.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn draw_token_key(&self, tenant: &Tenant, name: String) -> Result<(SigningKey, TokenKey)> {
        let taken = self.writer.log().look(|view| view.verifiers().map(Verifier::id).collect::<Vec<_>>());
        let (seed, key) = loop {
            let seed: Zeroizing<[u8; TokenKey::SEED_BYTES]> = Zeroizing::new(rand::random());
            let key = TokenKey::from_seed(&seed)?;
            // Tokens name a key by four bytes.
            if !taken.contains(&key.id()) {
                break (seed, key);
            }
        };
        let now = self.node.clock.wall();
        let row = SigningKey {
            id: Id::draw(Kind::SigningKey, now),
            tenant: tenant.id.clone(),
            name,
            public_key: PublicKey::Control(key.public()),
            created_at: now,
            not_after: now.plus(KEY_LIFE),
            version: 1,
        };
        files::atomic_write(&self.token_key_file(&row.id), &seed[..], files::MODE_SECRET)?;
        tracing::info!(id = %row.id, key = %key.id(), tenant = tenant.slug, "key of viewer tokens made");
        Ok((row, key))
    }

    /// Removes the private part of a key that is gone, if it is here.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub(crate) async fn forget_token_key(&self, row: &SigningKey) -> Result<()> {
        let mut known = self.token_keys.known.lock().await;
        let key = self.kept(&mut known, row)?;
        known.remove(&row.id);
        if key.is_none() {
            return Ok(());
        }
        let own = self.token_key_file(&row.id);
        let path = if own.exists() { own } else { self.node.data.join(OLD_KEY_FILE) };
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Who may watch a stream, as the log says.
    pub(crate) fn visibility(&self, stream: &StreamId) -> Visibility {
        self.writer.log().look(|view| view.stream(stream).map_or(Visibility::Public, |row| row.visibility))
    }

    /// Takes tokens back: everywhere, within a second.
    ///
    /// # Errors
    /// When there are too many revocations, or the log cannot be written.
    pub(crate) async fn revoke_tokens(
        &self,
        tenant: &Tenant,
        wanted: RevokeWanted,
    ) -> Result<(EntrySequence, RevokedTokens), Error> {
        let now = self.node.clock.wall();
        let until = now.plus(REVOCATION_LIFE);
        let mut outcome = None;
        let edits = |view: View<'_>| {
            let tokens = wanted.resolved(&view, slug_of(tenant), now);
            let mut edits = over(&view, now);
            let most = rows_max(kind::TOKEN_REVOCATION);
            if view.token_revocations().count() >= most.saturating_add(edits.len()) {
                outcome = Some(Err(Error::Full(most)));
                return Vec::new();
            }
            edits.extend(put(&view, Body::TokenRevocation(TokenRevocation { tokens: tokens.clone(), until })));
            outcome = Some(Ok(tokens));
            edits
        };
        let sequence = self.writer.write(edits).await.map_err(Error::Log)?;
        let tokens = outcome.unwrap_or(Err(Error::Full(0)))?;
        self.catalogue.note_states(vec![noted(tenant.id.clone(), &tokens)]).await?;
        Ok((sequence, tokens))
    }

    /// Writes the events of revocations that are in the log: this node may have ended between the two.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub(crate) async fn note_revocations(&self) -> Result<(), catalogue::Error> {
        let revoked = self.writer.log().look(|view| {
            view.token_revocations()
                .map(|revocation| noted(Id::default_tenant(), &revocation.tokens))
                .collect::<Vec<_>>()
        });
        self.catalogue.note_states(revoked).await
    }
}

/// Slug of a tenant as the metadata log has it.
pub(crate) fn slug_of(tenant: &Tenant) -> Option<&str> {
    (!tenant.is_default()).then_some(tenant.slug.as_str())
}

/// Which of a tenant's tokens are taken back.
#[derive(Debug)]
pub(crate) enum RevokeWanted {
    Token(TokenId),
    /// Up to this version; without one, all that were made until now.
    Viewer {
        sub: String,
        up_to_ver: Option<u64>,
    },
    Stream(StreamId),
}

impl RevokeWanted {
    fn resolved(self, view: &View<'_>, slug: Option<&str>, now: UnixMillis) -> RevokedTokens {
        match self {
            Self::Token(id) => RevokedTokens::Token(id.within(slug)),
            Self::Viewer { sub, up_to_ver } => {
                let viewer = ViewerDigest::within(slug, &sub);
                let current = next_version(view, Some(viewer));
                // A revocation never takes back less than one before.
                let up_to_ver = up_to_ver.unwrap_or(current).max(current.saturating_sub(1));
                RevokedTokens::Viewer { viewer, up_to_ver }
            }
            Self::Stream(stream) => {
                let up_to_nbf_s = u64::try_from(now.0.div_euclid(1_000)).unwrap_or(0);
                RevokedTokens::Stream { stream, up_to_nbf_s }
            }
        }
    }
}

/// The first second of a token for these streams: after that up to which their tokens were taken back.
fn first_second(view: &View<'_>, (slug, streams): (Option<&str>, &Option<Vec<StreamId>>), now_s: u64) -> u64 {
    let concerns = |stream: &StreamId| match streams {
        None => view.owner(stream) == slug,
        Some(named) => named.contains(stream),
    };
    let revoked = view.token_revocations().filter_map(|revocation| match &revocation.tokens {
        RevokedTokens::Stream { stream, up_to_nbf_s } if concerns(stream) => Some(up_to_nbf_s.saturating_add(1)),
        _ => None,
    });
    revoked.chain([now_s]).max().unwrap_or(now_s)
}

/// The version of a viewer's new tokens: after that up to which the older ones were taken back.
fn next_version(view: &View<'_>, viewer: Option<ViewerDigest>) -> u64 {
    let revoked = view.token_revocations().filter_map(|revocation| match revocation.tokens {
        RevokedTokens::Viewer { viewer: named, up_to_ver } if Some(named) == viewer => {
            Some(up_to_ver.saturating_add(1))
        }
        _ => None,
    });
    revoked.max().unwrap_or(0)
}

/// The edits that bring the log to what the catalogue says of keys: those that were retired or have ended are in it no more.
pub(crate) fn verifier_edits(
    view: &View<'_>,
    keys: &[SigningKey],
    (slugs, now): (&BTreeMap<String, String>, UnixMillis),
) -> Vec<Edit> {
    let row = |key: &SigningKey| {
        let PublicKey::Control(public) = key.public_key else { return None };
        let slug = slugs.get(key.tenant.as_str())?;
        let tenant = (slug != catalogue::DEFAULT_SLUG).then(|| slug.clone());
        Some(Verifier { key: public, from: key.created_at, until: key.not_after, tenant })
    };
    let rows: Vec<Verifier> = keys.iter().filter(|key| now < key.not_after).filter_map(row).collect();
    let is_there = |row: &&Verifier| view.verifiers().any(|known| known == *row);
    let added = rows.iter().filter(|row| !is_there(row)).filter_map(|row| put(view, Body::Verifier(row.clone())));
    let gone = view.verifiers().filter(|known| rows.iter().all(|row| row.key != known.key));
    let gone = gone.filter_map(|known| removed(view, &Body::Verifier(known.clone())));
    added.chain(gone).chain(over(view, now)).collect()
}

/// The event of a revocation, for a tenant; the log does not say whose token or viewer it was.
fn noted(tenant: Id, tokens: &RevokedTokens) -> Noted {
    let (subject, state, of_stream, object) = match tokens {
        RevokedTokens::Token(id) => (format!("jti:{id}"), "revoked".to_owned(), None, json!({ "jti": id.to_string() })),
        RevokedTokens::Viewer { viewer, up_to_ver } => {
            let viewer = hex::encode(viewer.0);
            let object = json!({ "sub_digest": viewer, "up_to_ver": up_to_ver });
            (format!("sub:{viewer}"), format!("revoked up to version {up_to_ver}"), None, object)
        }
        RevokedTokens::Stream { stream, up_to_nbf_s } => {
            let object = json!({ "stream": stream, "up_to_nbf_s": up_to_nbf_s });
            (format!("stream:{stream}"), format!("revoked up to {up_to_nbf_s}"), Some(stream.clone()), object)
        }
    };
    Noted { tenant, of_stream, kind: "token.revoked", subject, state, object }
}

/// The edits that forget revocations whose tokens have ended.
fn over(view: &View<'_>, now: UnixMillis) -> Vec<Edit> {
    let over = view.token_revocations().filter(|revocation| revocation.until <= now);
    over.filter_map(|revocation| removed(view, &Body::TokenRevocation(revocation.clone()))).collect()
}

/// The edit that removes the row of this name.
pub(crate) fn removed(view: &View<'_>, body: &Body) -> Option<Edit> {
    let kind = body.kind();
    let id = view.row_id(kind, &body.name()?)?;
    Some(Edit { id, kind, body: None, salt: [0; 16] })
}

fn read_key(path: &Path) -> Result<TokenKey> {
    let bytes = Zeroizing::new(files::read_bounded(path)?);
    let seed: Result<&[u8; TokenKey::SEED_BYTES], _> = bytes.as_slice().try_into();
    let key = seed.map_err(|_| KeyRefused).and_then(TokenKey::from_seed);
    key.with_context(|| {
        format!("{} is no key of viewer tokens: bring it from a backup, or remove it to make a new one", path.display())
    })
}
