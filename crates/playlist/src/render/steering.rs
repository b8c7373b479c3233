//! What content steering adds to a multivariant playlist (RFC 8216bis 4.4.6.6 and 7).

/// Content steering: the pathways to the same renditions, between which a server may steer a player (RFC 8216bis 4.4.6.6 and 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steering {
    /// URI of the steering manifest, relative to the playlist.
    pub server_uri: String,
    /// The pathways; players begin with the first.
    pub pathways: Vec<Pathway>,
}

/// A pathway of content steering: one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pathway {
    /// PATHWAY-ID: `[A-Za-z0-9._-]`.
    pub id: String,
    /// Prefix of its URIs: the directory of the multivariant playlist on another host, with a slash at its end. Empty for the host that
    /// served the playlist.
    pub base: String,
}
