//! Rows on who owns streams and who may change them: tenants and API keys. No row has a secret, or a name that people gave. Pure.

use media::{Digest, UnixMillis};
use seal::Refusal;
use seal::wire::{Reader, Writer};

use crate::limits::TEXT_BYTES_MAX;

/// Longest identity or slug, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// What the names of its streams begin with, before a dot; the tenant `default` has the others.
    pub slug: String,
    /// Its identity in the catalogue.
    pub id: String,
    /// Nobody publishes its streams.
    pub is_suspended: bool,
    pub quota: TenantQuota,
    pub created_at: UnixMillis,
}

/// Most of what a tenant may use; `None` where it has no limit of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantQuota {
    pub streams: Option<u64>,
    /// Streams that are published at once.
    pub publishers: Option<u64>,
    /// Bits per second of all publishers together.
    pub input_bps: Option<u64>,
    pub egress_bps: Option<u64>,
    pub storage_bytes: Option<u64>,
}

impl TenantQuota {
    /// The limits with the numbers of their fields.
    pub(crate) const fn fields(&self) -> [(u64, Option<u64>); 5] {
        [(5, self.streams), (6, self.publishers), (7, self.input_bps), (8, self.egress_bps), (9, self.storage_bytes)]
    }
}

/// An API key: what recognises its secret, and what it may do. The secret has 260 random bits, so nobody can guess it by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its identity in the catalogue.
    pub id: String,
    /// Identity of its tenant.
    pub tenant: String,
    /// SHA-256 of its secret.
    pub digest: Digest,
    /// The secret before, and until when it is accepted, too.
    pub old: Option<(Digest, UnixMillis)>,
    /// Names of what it may do, separated by spaces.
    pub scopes: String,
    pub expires_at: Option<UnixMillis>,
    pub created_at: UnixMillis,
}

pub(crate) fn name(r: &mut Reader<'_>) -> Result<String, Refusal> {
    let name = r.text()?;
    let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_one) {
        return Err(Refusal::implausible(format!("name {name:.80?}")));
    }
    Ok(name.to_owned())
}

pub(crate) fn scopes(r: &mut Reader<'_>) -> Result<String, Refusal> {
    let scopes = r.text()?;
    if scopes.len() > TEXT_BYTES_MAX || !scopes.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(Refusal::implausible("scopes that are too long, or have other characters"));
    }
    Ok(scopes.to_owned())
}

pub(crate) fn write_old(w: &mut Writer, (digest, until): (Digest, UnixMillis)) {
    w.array(2).bytes(&digest.0).int(until.0);
}

pub(crate) fn read_old(r: &mut Reader<'_>) -> Result<(Digest, UnixMillis), Refusal> {
    r.array_of(2)?;
    Ok((r.digest()?, UnixMillis(r.int()?)))
}
