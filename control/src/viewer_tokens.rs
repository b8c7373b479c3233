//! Viewer tokens: the key that signs them, and what is taken back. Nodes verify tokens by themselves, so whoever has one watches on
//! while control is away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use access::token::{LIFE_S_MAX, NotMade, audience};
use access::{AllowedOrigin, Claims, InvalidOrigin, KeyRefused, Named, Streams, TokenKey};
use anyhow::{Context as _, Result};
use catalogue::SigningKey;
use media::{StreamId, UnixMillis};
use metadata::limits::rows_max;
use metadata::{
    Body, Edit, EntrySequence, RevokedTokens, TokenId, TokenRevocation, Verifier, View, ViewerDigest, Visibility, kind,
};
use node::files;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::ControlState;
use crate::rows::put;

/// File of the key in control's data directory; mode 0600. Whoever has it lets anybody watch.
pub(crate) const KEY_FILE: &str = "viewer-tokens.key";
/// How long a key signs, and its tokens are verified.
const KEY_LIFE: Duration = Duration::from_secs(400 * 86_400);
/// A key that ends in less than this signs nothing more: its last token would outlive it.
const KEY_RENEWAL: Duration = Duration::from_secs(2 * LIFE_S_MAX);
/// How long a revocation stays in the log: until the longest token has ended, also by a clock that is a minute behind.
const REVOCATION_LIFE: Duration = Duration::from_secs(LIFE_S_MAX + 60);
/// Life of a token when nobody says another one.
pub(crate) const TTL_S: u64 = 3_600;

/// The key that signs, once somebody has asked for a token.
#[derive(Default)]
pub(crate) struct TokenKeys {
    current: Mutex<Option<(Arc<TokenKey>, UnixMillis)>>,
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
    Name(#[from] media::InvalidName),
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    #[error(transparent)]
    NotMade(#[from] NotMade),
    #[error("a token lives for 1 to {LIFE_S_MAX} seconds")]
    Life,
    #[error("name the streams that the token opens, or * alone for all")]
    NoStream,
    #[error("the log has {0} revocations of tokens, the most: they go a day after they were made")]
    Full(usize),
    #[error("the key of viewer tokens cannot be had")]
    Key(#[source] anyhow::Error),
    #[error(transparent)]
    Log(anyhow::Error),
}

impl ControlState {
    /// Makes a token.
    ///
    /// # Errors
    /// When what it is to say cannot be said, a stream is not there, or the key cannot be had.
    pub(crate) async fn make_token(&self, wanted: Wanted) -> Result<Made, Error> {
        let streams = self.named(&wanted.streams).await?;
        let origins: Vec<AllowedOrigin> =
            wanted.origins.iter().map(|origin| AllowedOrigin::parse(origin)).collect::<Result<_, _>>()?;
        let ttl_s = wanted.ttl_s.unwrap_or(TTL_S);
        if !(1..=LIFE_S_MAX).contains(&ttl_s) {
            return Err(Error::Life);
        }
        let (key, new_key) = self.token_key().await?;
        let now_s = u64::try_from(self.node.clock.wall().0.div_euclid(1_000)).unwrap_or(0);
        let viewer = wanted.sub.as_deref().map(ViewerDigest::of);
        let (nbf, ver) =
            self.writer.log().look(|view| (first_second(&view, &streams, now_s), next_version(&view, viewer)));
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

    /// The streams of these names, which must be there; `None` for all.
    async fn named(&self, names: &[String]) -> Result<Option<Vec<StreamId>>, Error> {
        match names {
            [] => Err(Error::NoStream),
            [all] if all == "*" => Ok(None),
            names => {
                let mut named = Vec::with_capacity(names.len());
                for name in names {
                    named.push(self.catalogue.stream(&StreamId::new(name)?).await?.name);
                }
                Ok(Some(named))
            }
        }
    }

    /// The key that signs now. Makes one at first use, and in time before the last one ends; then returns the entry that has it.
    async fn token_key(&self) -> Result<(Arc<TokenKey>, Option<EntrySequence>), Error> {
        let mut current = self.token_keys.current.lock().await;
        let now = self.node.clock.wall();
        if let Some((key, not_after)) = current.as_ref().filter(|(_, not_after)| not_after.since(now) >= KEY_RENEWAL) {
            tracing::trace!(key = %key.id(), until = %not_after, "the key of viewer tokens signs on");
            return Ok((Arc::clone(key), None));
        }
        let path = self.node.data.join(KEY_FILE);
        let known = self.catalogue.signing_keys().await?;
        let kept = if path.exists() { Some(read_key(&path).map_err(Error::Key)?) } else { None };
        let kept = kept.and_then(|key| {
            let row = known.iter().find(|row| row.public_key == key.public())?;
            (row.not_after.since(now) >= KEY_RENEWAL).then_some((key, row.not_after))
        });
        let (key, not_after) = match kept {
            Some(kept) => kept,
            None => self.new_token_key(&path, now).await?,
        };
        let key = Arc::new(key);
        // Also a key that was there may be missing in a log that was begun again.
        let is_new = self.writer.log().look(|view| view.verifiers().all(|verifier| verifier.key != key.public()));
        let sequence = self.write_log().await.map_err(Error::Log)?;
        *current = Some((Arc::clone(&key), not_after));
        Ok((key, is_new.then_some(sequence)))
    }

    async fn new_token_key(&self, path: &Path, now: UnixMillis) -> Result<(TokenKey, UnixMillis), Error> {
        let taken = self.writer.log().look(|view| view.verifiers().map(Verifier::id).collect::<Vec<_>>());
        let (seed, key) = loop {
            let seed: Zeroizing<[u8; TokenKey::SEED_BYTES]> = Zeroizing::new(rand::random());
            let key = TokenKey::from_seed(&seed).map_err(|error| Error::Key(error.into()))?;
            // Tokens name a key by four bytes.
            if !taken.contains(&key.id()) {
                break (seed, key);
            }
        };
        let not_after = now.plus(KEY_LIFE);
        // First the row: a key in the file that no row has is made anew.
        self.catalogue.add_signing_key(&SigningKey { public_key: key.public(), created_at: now, not_after }).await?;
        files::atomic_write(path, &seed[..], files::MODE_SECRET).map_err(Error::Key)?;
        tracing::info!(key = %key.id(), "key of viewer tokens made");
        Ok((key, not_after))
    }

    /// Who may watch a stream, as the log says.
    pub(crate) fn visibility(&self, stream: &StreamId) -> Visibility {
        self.writer.log().look(|view| view.stream(stream).map_or(Visibility::Public, |row| row.visibility))
    }

    /// Takes tokens back: everywhere, within a second.
    ///
    /// # Errors
    /// When there are too many revocations, or the log cannot be written.
    pub(crate) async fn revoke_tokens(&self, wanted: RevokeWanted) -> Result<(EntrySequence, RevokedTokens), Error> {
        let now = self.node.clock.wall();
        let until = now.plus(REVOCATION_LIFE);
        let mut outcome = None;
        let edits = |view: View<'_>| {
            let tokens = wanted.resolved(&view, now);
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
        Ok((sequence, tokens))
    }
}

/// Which tokens the operator takes back.
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
    fn resolved(self, view: &View<'_>, now: UnixMillis) -> RevokedTokens {
        match self {
            Self::Token(id) => RevokedTokens::Token(id),
            Self::Viewer { sub, up_to_ver } => {
                let viewer = ViewerDigest::of(&sub);
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
fn first_second(view: &View<'_>, streams: &Option<Vec<StreamId>>, now_s: u64) -> u64 {
    let concerns = |stream: &StreamId| streams.as_ref().is_none_or(|named| named.contains(stream));
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

/// The edits that bring the log to what the catalogue says of keys: they end with the last token.
pub(crate) fn verifier_edits(view: &View<'_>, keys: &[SigningKey], now: UnixMillis) -> Vec<Edit> {
    let counts = keys.iter().filter(|key| now < key.not_after);
    let rows = counts.map(|key| Verifier { key: key.public_key, from: key.created_at, until: key.not_after });
    let is_there = |row: &Verifier| view.verifiers().any(|known| known == row);
    let added = rows.filter(|row| !is_there(row)).filter_map(|row| put(view, Body::Verifier(row)));
    let ended = view.verifiers().filter(|known| known.until <= now);
    let ended = ended.filter_map(|known| removed(view, &Body::Verifier(known.clone())));
    added.chain(ended).chain(over(view, now)).collect()
}

/// The edits that forget revocations whose tokens have ended.
fn over(view: &View<'_>, now: UnixMillis) -> Vec<Edit> {
    let over = view.token_revocations().filter(|revocation| revocation.until <= now);
    over.filter_map(|revocation| removed(view, &Body::TokenRevocation(revocation.clone()))).collect()
}

fn removed(view: &View<'_>, body: &Body) -> Option<Edit> {
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
