//! Which tags may stand in which playlist (RFC 8216bis 4.4). Pure.

/// Where a tag may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// EXTM3U, EXT-X-VERSION: in either kind, once (4.4.1).
    Basic,
    /// In either kind, once (4.4.2).
    Either,
    /// EXT-X-DEFINE: in either kind, any number of times (4.4.2.3).
    Define,
    /// In media playlists, once (4.4.3).
    MediaPlaylist,
    /// In media playlists, for segments (4.4.4).
    Segment,
    /// In media playlists (4.4.5).
    Metadata,
    /// In multivariant playlists (4.4.6).
    Multivariant,
    /// Not in the draft; clients ignore it (6.3.1).
    Unknown,
}

/// The class of a tag by its name, without `#`.
#[must_use]
pub fn class(name: &str) -> Class {
    match name {
        "EXTM3U" | "EXT-X-VERSION" => Class::Basic,
        "EXT-X-INDEPENDENT-SEGMENTS" | "EXT-X-START" => Class::Either,
        "EXT-X-DEFINE" => Class::Define,
        "EXT-X-TARGETDURATION"
        | "EXT-X-MEDIA-SEQUENCE"
        | "EXT-X-DISCONTINUITY-SEQUENCE"
        | "EXT-X-ENDLIST"
        | "EXT-X-PLAYLIST-TYPE"
        | "EXT-X-I-FRAMES-ONLY"
        | "EXT-X-PART-INF"
        | "EXT-X-SERVER-CONTROL" => Class::MediaPlaylist,
        "EXTINF"
        | "EXT-X-BYTERANGE"
        | "EXT-X-DISCONTINUITY"
        | "EXT-X-KEY"
        | "EXT-X-MAP"
        | "EXT-X-PROGRAM-DATE-TIME"
        | "EXT-X-GAP"
        | "EXT-X-BITRATE"
        | "EXT-X-PART" => Class::Segment,
        "EXT-X-DATERANGE" | "EXT-X-SKIP" | "EXT-X-PRELOAD-HINT" | "EXT-X-RENDITION-REPORT" => Class::Metadata,
        "EXT-X-MEDIA"
        | "EXT-X-STREAM-INF"
        | "EXT-X-I-FRAME-STREAM-INF"
        | "EXT-X-SESSION-DATA"
        | "EXT-X-SESSION-KEY"
        | "EXT-X-CONTENT-STEERING" => Class::Multivariant,
        _ => Class::Unknown,
    }
}

/// Whether a tag of this name may stand only once.
#[must_use]
pub(super) fn once(name: &str) -> bool {
    match class(name) {
        Class::Basic | Class::Either | Class::MediaPlaylist => true,
        Class::Metadata => name == "EXT-X-SKIP",
        Class::Multivariant => name == "EXT-X-CONTENT-STEERING",
        Class::Define | Class::Segment | Class::Unknown => false,
    }
}
