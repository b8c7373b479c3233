//! Revoked keys, and since when they count for nothing. Pure.

use std::collections::BTreeMap;

use media::UnixMillis;

use crate::{KeyId, Sealed};

/// Revoked keys that may have been in wrong hands before they were revoked, each with a time. Nothing counts that such a key signed and that
/// states this time or a later one.
///
/// A thief can state an earlier time in a seal than the true one, by up to [`crate::limits::LIVE_AGE_MAX`]. Whoever names the time allows for
/// that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compromised(pub BTreeMap<KeyId, UnixMillis>);

impl Compromised {
    /// Whether what this key signed with this time counts for nothing.
    pub fn covers(&self, key: &KeyId, issued_at: UnixMillis) -> bool {
        self.0.get(key).is_some_and(|since| issued_at >= *since)
    }

    /// As [`Compromised::covers`], for a seal.
    pub fn covers_seal(&self, sealed: &Sealed) -> bool {
        self.covers(&sealed.key(), sealed.body().issued_at)
    }
}
