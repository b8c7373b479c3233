//! What the rows say, for those who enforce it. Pure.

use std::collections::BTreeSet;

use media::{NodeId, StreamId, UnixMillis};
use seal::{Grant, KeyId, Rights, SignedDelegation};

use crate::access::{TokenIssuer, TokenRevocation, Verifier};
use crate::body::{Cluster, Member, NodePolicy, Revocation, Revoked, StreamSettings};
use crate::rows::{HeldRow, Rows};
use crate::sessions::SessionRow;
use crate::{ApiKey, Body, Edit, EntrySequence, RowId, Tenant, kind};

/// Kinds that give rights: those written after a fork do not count.
const RIGHTS: [u64; 6] =
    [kind::MEMBER, kind::GRANT, kind::VERIFIER, kind::DELEGATION, kind::TOKEN_ISSUER, kind::API_KEY];

/// Slug of the tenant that has the streams of nobody else.
const DEFAULT_TENANT: &str = "default";

/// The rows of a replica, as they count now.
#[derive(Debug, Clone, Copy)]
pub struct View<'r> {
    rows: &'r Rows,
    fork: Option<EntrySequence>,
    other_revocations: &'r [Body],
}

impl<'r> View<'r> {
    pub(crate) const fn new(rows: &'r Rows, fork: Option<EntrySequence>, other_revocations: &'r [Body]) -> Self {
        Self { rows, fork, other_revocations }
    }

    /// First entry of which control signed two; `None` without a fork.
    pub const fn fork(&self) -> Option<EntrySequence> {
        self.fork
    }

    fn counts(&self, row: &HeldRow) -> bool {
        !(RIGHTS.contains(&row.kind) && self.fork.is_some_and(|fork| row.sequence >= fork))
    }

    /// The row with this natural name, if it counts.
    fn find(&self, kind: u64, name: &str) -> Option<&'r Body> {
        self.rows.find(kind, name).map(|(_, row)| row).filter(|row| self.counts(row)).map(|row| &row.body)
    }

    fn all(&self) -> impl Iterator<Item = (&'r RowId, &'r Body)> {
        let counts = *self;
        self.rows.iter().filter(move |(_, row)| counts.counts(row)).map(|(id, row)| (id, &row.body))
    }

    /// The edits that make the rows of some kinds say what is `wanted`, and nothing else: what differs is written, what is not wanted
    /// removed. Rows that this version does not understand stay. `random` is asked for identities and salts.
    pub fn edits_towards(&self, wanted: &[Body], kinds: &[u64], mut random: impl FnMut() -> [u8; 16]) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut named = BTreeSet::new();
        for body in wanted {
            let (kind, Some(name)) = (body.kind(), body.name()) else { continue };
            let there = self.rows.find(kind, &name);
            if there.is_none_or(|(_, row)| row.body != *body) {
                let id = there.map_or_else(|| RowId(random()), |(id, _)| *id);
                edits.push(Edit { id, kind, body: Some(body.clone()), salt: random() });
            }
            named.insert((kind, name));
        }
        let is_gone = |row: &HeldRow| {
            kinds.contains(&row.kind) && row.body.name().is_some_and(|name| !named.contains(&(row.kind, name)))
        };
        let gone = self.rows.iter().filter(|(_, row)| is_gone(row));
        edits.extend(gone.map(|(id, row)| Edit { id: *id, kind: row.kind, body: None, salt: [0; 16] }));
        edits
    }

    /// Identity of the row with this natural name, whether it counts or not: whoever changes it needs it.
    pub fn row_id(&self, kind: u64, name: &str) -> Option<RowId> {
        self.rows.find(kind, name).map(|(id, _)| *id)
    }

    /// The entry that wrote the row with this natural name, whether the row counts or not.
    pub fn written_by(&self, kind: u64, name: &str) -> Option<EntrySequence> {
        self.rows.find(kind, name).map(|(_, row)| row.sequence)
    }

    /// What the cluster agrees on; `None` before control has written it.
    pub fn cluster(&self) -> Option<&'r Cluster> {
        match self.find(kind::CLUSTER, "cluster")? {
            Body::Cluster(cluster) => Some(cluster),
            _ => None,
        }
    }

    /// A member that is not revoked.
    pub fn member(&self, node: &NodeId) -> Option<&'r Member> {
        match self.find(kind::MEMBER, node.as_str())? {
            Body::Member(member) if !self.is_node_revoked(node) => Some(member),
            _ => None,
        }
    }

    /// A member, also one that is revoked: the name belongs to it all the same.
    pub fn any_member(&self, node: &NodeId) -> Option<&'r Member> {
        match self.rows.find(kind::MEMBER, node.as_str()).map(|(_, row)| &row.body)? {
            Body::Member(member) => Some(member),
            _ => None,
        }
    }

    /// Members that are not revoked.
    pub fn members(&self) -> impl Iterator<Item = &'r Member> {
        let view = *self;
        self.all().filter_map(move |(_, body)| match body {
            Body::Member(member) if !view.is_node_revoked(&member.node) => Some(member),
            _ => None,
        })
    }

    /// Whether a node of this name was a member once: the name never returns.
    pub fn was_member(&self, node: &NodeId) -> bool {
        self.find(kind::TOMBSTONE, &format!("{}/{node}", kind::MEMBER)).is_some()
    }

    /// The grant of a key that nobody has revoked, whatever its times say.
    pub fn grant(&self, key: &KeyId) -> Option<&'r Grant> {
        match self.find(kind::GRANT, &key.to_string())? {
            Body::Grant(grant) if !self.is_key_revoked(key) && !self.is_node_revoked(&grant.node) => Some(grant),
            _ => None,
        }
    }

    /// The grant of a key, also one that was revoked or has ended: whoever has to know what the key signed needs it.
    pub fn any_grant(&self, key: &KeyId) -> Option<&'r Grant> {
        match self.rows.find(kind::GRANT, &key.to_string()).map(|(_, row)| &row.body)? {
            Body::Grant(grant) => Some(grant),
            _ => None,
        }
    }

    /// All grants, also those that were revoked or have ended.
    pub fn all_grants(&self) -> impl Iterator<Item = &'r Grant> {
        self.rows.iter().filter_map(|(_, row)| match &row.body {
            Body::Grant(grant) => Some(grant),
            _ => None,
        })
    }

    /// Grants in force at a time.
    pub fn grants(&self, at: UnixMillis) -> impl Iterator<Item = &'r Grant> {
        let view = *self;
        self.all().filter_map(move |(_, body)| match body {
            Body::Grant(grant) if grant.from <= at && at < grant.until => {
                view.grant(&KeyId::of(&grant.public_key)).map(|_| grant)
            }
            _ => None,
        })
    }

    /// What streamers let shared ingests do, also what is over. Nobody has verified these signatures.
    pub fn delegations(&self) -> impl Iterator<Item = &'r SignedDelegation> {
        self.all().filter_map(|(_, body)| match body {
            Body::Delegation(signed) => Some(signed),
            _ => None,
        })
    }

    fn revocation(&self, subject: &Revoked) -> Option<&'r Revocation> {
        let name = match subject {
            Revoked::Node(node) => format!("node/{node}"),
            Revoked::Key(key) => format!("key/{key}"),
        };
        let ours = self.find(kind::REVOCATION, &name);
        // Of a fork's two sides, the revocations of both count.
        ours.into_iter().chain(self.other_revocations).find_map(|body| match body {
            Body::Revocation(revocation) if revocation.subject == *subject => Some(revocation),
            _ => None,
        })
    }

    /// Since when something that is revoked may have been in wrong hands; `None` when it is not revoked.
    pub fn revoked_since(&self, subject: &Revoked) -> Option<UnixMillis> {
        self.revocation(subject).map(|revocation| revocation.since)
    }

    /// Whether nobody may trust the node or any of its keys. A revocation list of before the log names a node as [`KeyId::of_node`].
    pub fn is_node_revoked(&self, node: &NodeId) -> bool {
        self.revocation(&Revoked::Node(node.clone())).is_some() || self.is_key_revoked(&KeyId::of_node(node))
    }

    /// Whether nobody may trust the key.
    pub fn is_key_revoked(&self, key: &KeyId) -> bool {
        self.revocation(&Revoked::Key(*key)).is_some()
    }

    /// Revocations in force.
    pub fn revocations(&self) -> impl Iterator<Item = &'r Revocation> {
        let ours = self.all().map(|(_, body)| body).chain(self.other_revocations);
        ours.filter_map(|body| match body {
            Body::Revocation(revocation) => Some(revocation),
            _ => None,
        })
    }

    /// Nodes that are revoked.
    pub fn revoked_nodes(&self) -> BTreeSet<NodeId> {
        let nodes = self.revocations().filter_map(|revocation| match &revocation.subject {
            Revoked::Node(node) => Some(node.clone()),
            Revoked::Key(_) => None,
        });
        nodes.collect()
    }

    /// Nodes that the operator has drained.
    pub fn drained_nodes(&self) -> Vec<NodeId> {
        self.policies().filter(|policy| policy.is_drained).map(|policy| policy.node.clone()).collect()
    }

    /// What is said about keys, as a [`seal::Keyring`] takes it.
    pub fn rights(&self) -> Rights {
        let mut rights = Rights::default();
        for (_, body) in self.all() {
            match body {
                Body::Grant(grant) => rights.grants.push(grant.clone()),
                Body::Stream(stream) => _ = rights.pools.insert(stream.name.clone(), stream.pool.clone()),
                Body::Delegation(signed) => rights.delegations.push(signed.clone()),
                _ => {}
            }
        }
        let revoked = self.revocations().map(|revocation| match &revocation.subject {
            Revoked::Node(node) => (KeyId::of_node(node), revocation.since),
            Revoked::Key(key) => (*key, revocation.since),
        });
        rights.revoked = revoked.collect();
        rights
    }

    /// A stream of the catalogue.
    pub fn stream(&self, name: &StreamId) -> Option<&'r StreamSettings> {
        match self.find(kind::STREAM, name.as_str())? {
            Body::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// All streams of the catalogue.
    pub fn streams(&self) -> impl Iterator<Item = &'r StreamSettings> {
        self.all().filter_map(|(_, body)| match body {
            Body::Stream(stream) => Some(stream),
            _ => None,
        })
    }

    /// The tenant that a stream belongs to: the one whose slug its name begins with, or else the one that has all others. `None` in a log of
    /// before tenants were in it.
    pub fn tenant_of(&self, stream: &StreamId) -> Option<&'r Tenant> {
        let slug = stream.as_str().split_once('.').map(|(slug, _)| slug);
        slug.and_then(|slug| self.tenant(slug)).or_else(|| self.tenant(DEFAULT_TENANT))
    }

    /// A tenant by its slug.
    pub fn tenant(&self, slug: &str) -> Option<&'r Tenant> {
        match self.find(kind::TENANT, slug)? {
            Body::Tenant(tenant) => Some(tenant),
            _ => None,
        }
    }

    /// All tenants; none in a log of before they were in it.
    pub fn tenants(&self) -> impl Iterator<Item = &'r Tenant> {
        self.all().filter_map(|(_, body)| match body {
            Body::Tenant(tenant) => Some(tenant),
            _ => None,
        })
    }

    /// Names of what is gone of a kind, and since when.
    pub fn gone(&self, kind: u64) -> impl Iterator<Item = (&'r str, UnixMillis)> {
        self.all().filter_map(move |(_, body)| match body {
            Body::Tombstone(gone) if gone.kind == kind => Some((gone.name.as_str(), gone.at)),
            _ => None,
        })
    }

    /// All API keys, whatever their times say.
    pub fn api_keys(&self) -> impl Iterator<Item = &'r ApiKey> {
        self.all().filter_map(|(_, body)| match body {
            Body::ApiKey(key) => Some(key),
            _ => None,
        })
    }

    /// Whether there are rows of streams that this version cannot read: any stream without a row may be one of these.
    pub fn has_streams_not_understood(&self) -> bool {
        self.rows.denied() > 0 && self.rows.iter().any(|(_, row)| row.kind == kind::STREAM && row.body.is_denied())
    }

    /// Keys that verify viewer tokens, whatever their times say.
    pub fn verifiers(&self) -> impl Iterator<Item = &'r Verifier> {
        self.all().filter_map(|(_, body)| match body {
            Body::Verifier(verifier) => Some(verifier),
            _ => None,
        })
    }

    /// Whose tokens (JWT) count.
    pub fn token_issuers(&self) -> impl Iterator<Item = &'r TokenIssuer> {
        self.all().filter_map(|(_, body)| match body {
            Body::TokenIssuer(issuer) => Some(issuer),
            _ => None,
        })
    }

    /// Slug of the tenant that owns a stream; `None` for the tenant `default`. Of a stream that is not there, its name says it.
    pub fn owner<'n>(&self, stream: &'n StreamId) -> Option<&'n str>
    where
        'r: 'n,
    {
        match self.stream(stream) {
            Some(row) => row.tenant.as_deref(),
            None => stream.as_str().split_once('.').map(|(slug, _)| slug),
        }
    }

    /// Viewer tokens that were taken back; of a fork's two sides, the revocations of both count.
    pub fn token_revocations(&self) -> impl Iterator<Item = &'r TokenRevocation> {
        let all = self.all().map(|(_, body)| body).chain(self.other_revocations);
        all.filter_map(|body| match body {
            Body::TokenRevocation(revocation) => Some(revocation),
            _ => None,
        })
    }

    /// What nodes have to know of sessions; of a fork's two sides, what either has ended is over.
    pub fn sessions(&self) -> impl Iterator<Item = &'r SessionRow> {
        let all = self.all().map(|(_, body)| body).chain(self.other_revocations);
        all.filter_map(|body| match body {
            Body::Session(row) => Some(row),
            _ => None,
        })
    }

    /// What the operator wants of a node; `None` when nothing was said.
    pub fn policy(&self, node: &NodeId) -> Option<&'r NodePolicy> {
        match self.find(kind::POLICY, node.as_str())? {
            Body::Policy(policy) => Some(policy),
            _ => None,
        }
    }

    /// What the operator wants of all nodes of which something was said.
    pub fn policies(&self) -> impl Iterator<Item = &'r NodePolicy> {
        self.all().filter_map(|(_, body)| match body {
            Body::Policy(policy) => Some(policy),
            _ => None,
        })
    }

    /// Rows that this version does not understand and that deny something until the software is renewed.
    pub const fn not_understood(&self) -> usize {
        self.rows.denied()
    }

    /// Rows of all kinds.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }
}
