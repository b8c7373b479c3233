//! What rows say, by kind. Pure.
//!
//! | kind | row | natural name |
//! |---|---|---|
//! | 1 | [`Cluster`] | `cluster` |
//! | 2 | [`Member`] | the node |
//! | 3 | [`Grant`] | the key |
//! | 4 | [`Revocation`] | the node or key |
//! | 6 | [`Tenant`] | its slug |
//! | 7 | [`StreamSettings`] | the stream |
//! | 8 | [`NodePolicy`] | the node |
//! | 9 | [`Verifier`] | the id of its key |
//! | 11 | [`Tombstone`] | kind and name of what is gone |
//! | 12 | [`SignedDelegation`] | the session |
//! | 13 | [`TokenRevocation`] | the token, viewer or stream |
//! | 14 | [`ApiKey`] | its identity |
//! | 15 | [`SessionRow`] | the key, session or person |
//! | 16 | [`TokenIssuer`] | its identity |
//!
//! 10 (recording) is taken; no version writes it yet. 5 (anchor) stays reserved.

use media::{Digest, NodeId, StreamId, UnixMillis};
use messages::Role;
use seal::limits::PUBLIC_KEY_BYTES;
use seal::wire::{Reader, Writer};
use seal::{Grant, KeyId, Refusal, Scope, SignedDelegation};

use crate::access::{self, RevokedTokens, TokenIssuer, TokenRevocation, Verifier, Visibility};
use crate::fields::{Fields, FieldsWriter, MUST_UNDERSTAND};
use crate::kind;
use crate::limits::{KEY_MACS_MAX, SCOPE_MAX, SPKI_MAX, TEXT_BYTES_MAX};
use crate::pages::PageSettings;
use crate::sessions::{SessionRow, SessionRule};
use crate::tenants::{self, ApiKey, Tenant, TenantQuota};

/// What the whole cluster has to agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Part target in milliseconds.
    pub part_target_ms: u64,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration_s: u64,
    /// Newest level that all members understand; control writes nothing above it.
    pub level: u64,
    /// How long a grant lasts, in hours, 1 to 720.
    pub grant_hours: u64,
}

/// A node that belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, which never returns once the member is gone.
    pub node: NodeId,
    /// What its certificate may be used for.
    pub role: Role,
    /// A streamer's own ingest: it gets only rows that concern it.
    pub is_guest: bool,
    /// SHA-256 of its certificate's SubjectPublicKeyInfo, and of the successor's; renewal keeps the key.
    pub spki: Vec<Digest>,
    /// Where viewers reach the node, when the operator said so.
    pub public_url: Option<String>,
    /// Newest level that its software understands.
    pub level: u64,
}

/// What a revocation takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// A node: its certificate, and all keys that it has or will have.
    Node(NodeId),
    /// One sealing key.
    Key(KeyId),
}

/// Nobody may trust this any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What is taken back.
    pub subject: Revoked,
    /// Since when it may have been in wrong hands: what it signed with this time or a later one is void.
    pub since: UnixMillis,
    /// The operator's words.
    pub reason: String,
}

/// A stream of the catalogue, without what is secret or guessable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// Its name.
    pub name: StreamId,
    /// Which ingests may seal it, by the pools of their grants.
    pub pool: String,
    /// MACs of its stream key, and of the successor.
    pub key_macs: Vec<StreamKeyMac>,
    /// Who may watch it.
    pub visibility: Visibility,
    /// What people read; empty when nobody has said.
    pub title: String,
    /// Slug of its tenant; `None` for the tenant `default`.
    pub tenant: Option<String>,
    /// Which sites may use it, and its chat.
    pub pages: PageSettings,
}

/// HMAC-SHA-256 of a stream key. Nobody can guess at the key who does not have what it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKeyMac {
    /// Made with control's pepper, which shared ingests have: the form of before.
    OfAll(Digest),
    /// Made with a key of the stream's own, which the ingests that serve the stream have.
    OfStream(Digest),
}

/// What the operator wants of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePolicy {
    /// The node.
    pub node: NodeId,
    /// It takes no new viewers and no new streams.
    pub is_drained: bool,
    /// Share of streams and viewers relative to others, in percent.
    pub weight_percent: u64,
}

/// Something that is gone for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Kind of the row that was removed.
    pub kind: u64,
    /// Its natural name.
    pub name: String,
    /// When it was removed.
    pub at: UnixMillis,
}

/// The body of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Kind 1.
    Cluster(Cluster),
    /// Kind 2.
    Member(Member),
    /// Kind 3.
    Grant(Grant),
    /// Kind 4.
    Revocation(Revocation),
    /// Kind 7.
    Stream(StreamSettings),
    /// Kind 8.
    Policy(NodePolicy),
    /// Kind 9.
    Verifier(Verifier),
    /// Kind 11.
    Tombstone(Tombstone),
    /// Kind 12. Whoever counts on it verifies the signature ([`seal::Keyring`], [`crate::Trust`]).
    Delegation(SignedDelegation),
    /// Kind 13.
    TokenRevocation(TokenRevocation),
    /// Kind 6.
    Tenant(Tenant),
    /// Kind 14.
    ApiKey(ApiKey),
    /// Kind 15.
    Session(SessionRow),
    /// Kind 16.
    TokenIssuer(TokenIssuer),
    /// A kind, or a field, that this version does not know: it allows nothing.
    NotUnderstood {
        /// Number of the kind.
        kind: u64,
    },
}

/// Longest name of a pool, in bytes.
const POOL_BYTES_MAX: usize = 64;

impl Body {
    /// Number of the row's kind.
    pub const fn kind(&self) -> u64 {
        match self {
            Self::Cluster(_) => kind::CLUSTER,
            Self::Member(_) => kind::MEMBER,
            Self::Grant(_) => kind::GRANT,
            Self::Revocation(_) => kind::REVOCATION,
            Self::Stream(_) => kind::STREAM,
            Self::Policy(_) => kind::POLICY,
            Self::Verifier(_) => kind::VERIFIER,
            Self::Tombstone(_) => kind::TOMBSTONE,
            Self::Delegation(_) => kind::DELEGATION,
            Self::TokenRevocation(_) => kind::TOKEN_REVOCATION,
            Self::Tenant(_) => kind::TENANT,
            Self::ApiKey(_) => kind::API_KEY,
            Self::Session(_) => kind::SESSION,
            Self::TokenIssuer(_) => kind::TOKEN_ISSUER,
            Self::NotUnderstood { kind } => *kind,
        }
    }

    /// What tells the row from others of its kind: at most one row has it. `None` where this version cannot say.
    pub fn name(&self) -> Option<String> {
        Some(match self {
            Self::Cluster(_) => "cluster".to_owned(),
            Self::Member(member) => member.node.to_string(),
            Self::Grant(grant) => KeyId::of(&grant.public_key).to_string(),
            Self::Revocation(revocation) => match &revocation.subject {
                Revoked::Node(node) => format!("node/{node}"),
                Revoked::Key(key) => format!("key/{key}"),
            },
            Self::Stream(stream) => stream.name.to_string(),
            Self::Policy(policy) => policy.node.to_string(),
            Self::Verifier(verifier) => format!("view/{}", verifier.id()),
            Self::TokenRevocation(revocation) => revocation.tokens.name(),
            Self::Tenant(tenant) => tenant.slug.clone(),
            Self::ApiKey(key) => key.id.clone(),
            Self::Session(row) => row.name(),
            Self::TokenIssuer(issuer) => issuer.id.clone(),
            Self::Tombstone(tombstone) => format!("{}/{}", tombstone.kind, tombstone.name),
            Self::Delegation(signed) => signed.delegation().session.to_string(),
            Self::NotUnderstood { .. } => return None,
        })
    }

    /// Whether a name that was used once never returns.
    pub(crate) const fn is_unique_for_good(kind: u64) -> bool {
        kind == kind::MEMBER
    }

    /// The body's one encoding. Not for what this version does not understand.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let w = FieldsWriter::default();
        match self {
            Self::Cluster(cluster) => w
                .put(1, |w| _ = w.uint(cluster.part_target_ms))
                .put(2, |w| _ = w.uint(cluster.target_duration_s))
                .put(3, |w| _ = w.uint(cluster.level))
                .put(4, |w| _ = w.uint(cluster.grant_hours)),
            Self::Member(member) => w
                .put(1, |w| _ = w.text(member.node.as_str()))
                .put(2, |w| _ = w.text(&member.role.to_string()))
                .put(3, |w| _ = w.bool(member.is_guest))
                .put(4, |w| digests(w, &member.spki))
                .put_some(5, member.public_url.as_ref(), |w, url| _ = w.text(url))
                .put(6, |w| _ = w.uint(member.level)),
            Self::Grant(grant) => w
                .put(1, |w| _ = w.bytes(&grant.public_key))
                .put(2, |w| _ = w.text(grant.node.as_str()))
                .put(3, |w| match &grant.scope {
                    Scope::Pools(pools) => texts(w.array(2).uint(0), pools.iter().map(String::as_str)),
                    Scope::Streams(streams) => texts(w.array(2).uint(1), streams.iter().map(StreamId::as_str)),
                })
                .put(4, |w| _ = w.bool(grant.may_delegate))
                .put(5, |w| _ = w.int(grant.from.0))
                .put(6, |w| _ = w.int(grant.until.0)),
            Self::Revocation(revocation) => w
                .put(1, |w| match &revocation.subject {
                    Revoked::Node(node) => _ = w.array(2).uint(0).text(node.as_str()),
                    Revoked::Key(key) => _ = w.array(2).uint(1).bytes(&key.0),
                })
                .put(2, |w| _ = w.int(revocation.since.0))
                .put(3, |w| _ = w.text(&revocation.reason)),
            Self::Stream(stream) => {
                let w = w
                    .put(1, |w| _ = w.text(stream.name.as_str()))
                    .put(2, |w| _ = w.text(&stream.pool))
                    .put(3, |w| digests(w, &of_form(&stream.key_macs, 3)))
                    .put_some(4, stream.visibility.number(), |w, number| _ = w.uint(number))
                    .put(64, |w| _ = w.text(&stream.title))
                    .put_some(65, stream.tenant.as_ref(), |w, tenant| _ = w.text(tenant))
                    .put_some(80, Some(of_form(&stream.key_macs, 80)).filter(|macs| !macs.is_empty()), |w, macs| {
                        digests(w, &macs);
                    });
                stream.pages.write(w)
            }
            Self::Policy(policy) => w
                .put(1, |w| _ = w.text(policy.node.as_str()))
                .put(2, |w| _ = w.bool(policy.is_drained))
                .put(3, |w| _ = w.uint(policy.weight_percent)),
            Self::Verifier(verifier) => w
                .put(1, access::write_use)
                .put(2, |w| _ = w.bytes(&verifier.key))
                .put(3, |w| _ = w.int(verifier.from.0))
                .put(4, |w| _ = w.int(verifier.until.0))
                .put_some(5, verifier.tenant.as_ref(), |w, tenant| _ = w.text(tenant)),
            Self::TokenRevocation(revocation) => {
                w.put(1, |w| revocation.tokens.write(w)).put(2, |w| _ = w.int(revocation.until.0))
            }
            Self::Tenant(tenant) => {
                let w = w
                    .put(1, |w| _ = w.text(&tenant.slug))
                    .put(2, |w| _ = w.text(&tenant.id))
                    .put(3, |w| _ = w.bool(tenant.is_suspended))
                    .put(4, |w| _ = w.int(tenant.created_at.0));
                let limits = tenant.quota.fields().into_iter();
                limits.fold(w, |w, (field, limit)| w.put_some(field, limit, |w, limit| _ = w.uint(limit)))
            }
            Self::ApiKey(key) => w
                .put(1, |w| _ = w.text(&key.id))
                .put(2, |w| _ = w.text(&key.tenant))
                .put(3, |w| _ = w.bytes(&key.digest.0))
                .put(4, |w| _ = w.text(&key.scopes))
                .put(5, |w| _ = w.int(key.created_at.0))
                .put_some(6, key.expires_at, |w, at| _ = w.int(at.0))
                .put_some(7, key.old, tenants::write_old),
            Self::Session(row) => w.put(1, |w| row.says.write(w)).put(2, |w| _ = w.int(row.until.0)),
            Self::TokenIssuer(issuer) => w
                .put(1, |w| _ = w.text(&issuer.id))
                .put_some(2, issuer.tenant.as_ref(), |w, tenant| _ = w.text(tenant))
                .put(3, |w| _ = w.text(&issuer.document)),
            Self::Tombstone(tombstone) => w
                .put(1, |w| _ = w.uint(tombstone.kind))
                .put(2, |w| _ = w.text(&tombstone.name))
                .put(3, |w| _ = w.int(tombstone.at.0)),
            Self::Delegation(signed) => w.put(1, |w| _ = w.bytes(signed.raw())),
            Self::NotUnderstood { .. } => w,
        }
        .finish()
    }

    /// Reads a body. What this version does not know is [`Body::NotUnderstood`], and no error.
    ///
    /// # Errors
    /// When a known kind lacks a field, or a field is out of range.
    pub(crate) fn decode(kind: u64, bytes: &[u8]) -> Result<Self, Refusal> {
        let mut f = Fields::read(bytes)?;
        let body = match kind {
            kind::CLUSTER => Self::Cluster(Cluster {
                part_target_ms: f.take(1, Reader::uint)?,
                target_duration_s: f.take(2, Reader::uint)?,
                level: f.take(3, Reader::uint)?,
                grant_hours: f.take(4, |r| within(r.uint()?, 1, 720, "grant_hours"))?,
            }),
            kind::MEMBER => Self::Member(Member {
                node: f.take(1, Reader::node)?,
                role: f.take(2, role)?,
                is_guest: f.take(3, Reader::bool)?,
                spki: f.take(4, |r| r.list(SPKI_MAX, Reader::digest))?,
                public_url: f.find(5, text)?,
                level: f.take(6, Reader::uint)?,
            }),
            kind::GRANT => Self::Grant(Grant {
                public_key: f.take(1, Reader::bytes_of::<PUBLIC_KEY_BYTES>)?.to_vec(),
                node: f.take(2, Reader::node)?,
                scope: f.take(3, scope)?,
                may_delegate: f.take(4, Reader::bool)?,
                from: UnixMillis(f.take(5, Reader::int)?),
                until: UnixMillis(f.take(6, Reader::int)?),
            }),
            kind::REVOCATION => Self::Revocation(Revocation {
                subject: f.take(1, subject)?,
                since: UnixMillis(f.take(2, Reader::int)?),
                reason: f.take(3, text)?,
            }),
            kind::STREAM => Self::Stream(StreamSettings {
                name: f.take(1, Reader::stream)?,
                pool: f.take(2, pool)?,
                key_macs: key_macs(&mut f)?,
                visibility: f.find(4, |r| Visibility::of_number(r.uint()?))?.unwrap_or_default(),
                title: f.find(64, text)?.unwrap_or_default(),
                tenant: f.find(65, access::tenant)?,
                pages: PageSettings::take(&mut f)?,
            }),
            kind::POLICY => Self::Policy(NodePolicy {
                node: f.take(1, Reader::node)?,
                is_drained: f.take(2, Reader::bool)?,
                weight_percent: f.take(3, |r| within(r.uint()?, 0, 1_000, "weight_percent"))?,
            }),
            // Other uses will have other fields.
            kind::VERIFIER if !access::is_known_use(f.peek(1, access::read_use)?) => {
                return Ok(Self::NotUnderstood { kind });
            }
            kind::VERIFIER => {
                f.take(1, access::read_use)?;
                Self::Verifier(Verifier {
                    key: f.take(2, Reader::bytes_of)?,
                    from: UnixMillis(f.take(3, Reader::int)?),
                    until: UnixMillis(f.take(4, Reader::int)?),
                    tenant: f.find(5, access::tenant)?,
                })
            }
            kind::TOKEN_REVOCATION => Self::TokenRevocation(TokenRevocation {
                tokens: f.take(1, RevokedTokens::read)?,
                until: UnixMillis(f.take(2, Reader::int)?),
            }),
            kind::SESSION => Self::Session(SessionRow {
                says: f.take(1, SessionRule::read)?,
                until: UnixMillis(f.take(2, Reader::int)?),
            }),
            kind::TOKEN_ISSUER => Self::TokenIssuer(TokenIssuer {
                id: f.take(1, text)?,
                tenant: f.find(2, access::tenant)?,
                document: f.take(3, access::document)?,
            }),
            kind::TENANT => Self::Tenant(Tenant {
                slug: f.take(1, tenants::name)?,
                id: f.take(2, tenants::name)?,
                is_suspended: f.take(3, Reader::bool)?,
                created_at: UnixMillis(f.take(4, Reader::int)?),
                quota: TenantQuota {
                    streams: f.find(5, Reader::uint)?,
                    publishers: f.find(6, Reader::uint)?,
                    input_bps: f.find(7, Reader::uint)?,
                    egress_bps: f.find(8, Reader::uint)?,
                    storage_bytes: f.find(9, Reader::uint)?,
                },
            }),
            kind::API_KEY => Self::ApiKey(ApiKey {
                id: f.take(1, tenants::name)?,
                tenant: f.take(2, tenants::name)?,
                digest: f.take(3, Reader::digest)?,
                scopes: f.take(4, tenants::scopes)?,
                created_at: UnixMillis(f.take(5, Reader::int)?),
                expires_at: f.find(6, Reader::int)?.map(UnixMillis),
                old: f.find(7, tenants::read_old)?,
            }),
            kind::TOMBSTONE => Self::Tombstone(Tombstone {
                kind: f.take(1, Reader::uint)?,
                name: f.take(2, text)?,
                at: UnixMillis(f.take(3, Reader::int)?),
            }),
            kind::DELEGATION => Self::Delegation(f.take(1, |r| SignedDelegation::read(r.bytes()?))?),
            _ => return Ok(Self::NotUnderstood { kind }),
        };
        Ok(if f.are_understood() { body } else { Self::NotUnderstood { kind } })
    }

    /// Whether a node that does not understand the row has to tell its operator, because it may deny something for it.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::NotUnderstood { kind } if *kind < MUST_UNDERSTAND)
    }
}

fn digests(w: &mut Writer, digests: &[Digest]) {
    w.array(digests.len());
    digests.iter().for_each(|digest| _ = w.bytes(&digest.0));
}

/// The MACs that stand in a field.
fn of_form(macs: &[StreamKeyMac], field: u64) -> Vec<Digest> {
    let in_field = |mac: &StreamKeyMac| match *mac {
        StreamKeyMac::OfAll(mac) => (field == 3).then_some(mac),
        StreamKeyMac::OfStream(mac) => (field == 80).then_some(mac),
    };
    macs.iter().filter_map(in_field).collect()
}

fn key_macs(f: &mut Fields<'_>) -> Result<Vec<StreamKeyMac>, Refusal> {
    let of_all = f.take(3, |r| r.list(KEY_MACS_MAX, Reader::digest))?;
    let of_stream = f.find(80, |r| r.list(KEY_MACS_MAX, Reader::digest))?.unwrap_or_default();
    let newer = of_stream.into_iter().map(StreamKeyMac::OfStream);
    Ok(newer.chain(of_all.into_iter().map(StreamKeyMac::OfAll)).collect())
}

fn texts<'t>(w: &mut Writer, texts: impl ExactSizeIterator<Item = &'t str>) {
    w.array(texts.len());
    texts.for_each(|text| _ = w.text(text));
}

fn within(value: u64, least: u64, most: u64, what: &str) -> Result<u64, Refusal> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Refusal::implausible(format!("{what} {value}: {least} to {most} are allowed")))
}

fn text(r: &mut Reader<'_>) -> Result<String, Refusal> {
    let text = r.text()?;
    if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Refusal::implausible("text that is too long, or has control characters"));
    }
    Ok(text.to_owned())
}

fn pool(r: &mut Reader<'_>) -> Result<String, Refusal> {
    let name = text(r)?;
    if name.is_empty() || name.len() > POOL_BYTES_MAX || name == "*" {
        return Err(Refusal::implausible(format!("pool {name:?}")));
    }
    Ok(name)
}

fn role(r: &mut Reader<'_>) -> Result<Role, Refusal> {
    let name = r.text()?;
    let roles = [Role::Ingest, Role::Broadcast, Role::LoadBalancer, Role::Control];
    let role = roles.into_iter().find(|role| role.to_string() == name);
    role.ok_or_else(|| Refusal::implausible(format!("role {name:.32?}")))
}

fn scope(r: &mut Reader<'_>) -> Result<Scope, Refusal> {
    r.array_of(2)?;
    match r.uint()? {
        0 => r.list(SCOPE_MAX, pool).map(Scope::Pools),
        1 => r.list(SCOPE_MAX, Reader::stream).map(Scope::Streams),
        other => Err(Refusal::implausible(format!("scope {other} of a grant"))),
    }
}

fn subject(r: &mut Reader<'_>) -> Result<Revoked, Refusal> {
    r.array_of(2)?;
    match r.uint()? {
        0 => r.node().map(Revoked::Node),
        1 => r.bytes_of().map(KeyId).map(Revoked::Key),
        other => Err(Refusal::implausible(format!("revocation of kind {other}"))),
    }
}
