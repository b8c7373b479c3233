//! What kinds of answers there are, how long each may be kept, and how urgent it is. Pure.

use http::{HeaderName, HeaderValue};

/// How long an answer may be kept by the viewer and by caches in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CacheLifetime {
    /// The bytes under this name never change.
    ForEver,
    /// A playlist, or whatever else changes with each segment: half a target duration (RFC 8216bis, B.1), so that caching puts
    /// no viewer a segment behind.
    Playlist {
        /// EXT-X-TARGETDURATION in seconds.
        target_duration_s: u32,
    },
    /// A playlist that was asked for from a certain part on: six target durations (RFC 8216bis, B.1). A client that asks for it
    /// later gets what it asked for, and then asks for the next.
    BlockingReload {
        /// EXT-X-TARGETDURATION in seconds.
        target_duration_s: u32,
    },
    /// Changes with every seal: long enough for a cache to answer a crowd once.
    OneSecond,
    /// May be kept, and is to be asked about each time.
    Revalidated,
    /// Refusals. RFC 8216bis, B.1 lets caches keep them for one to four target durations, which suits a single origin. Here,
    /// what a node does not have may be on the next node, or come in a moment.
    Never,
}

/// Every `Cache-Control` comes from here.
pub(super) fn cache_control(kept: CacheLifetime) -> HeaderValue {
    match kept {
        CacheLifetime::ForEver => HeaderValue::from_static("public, max-age=31536000, immutable"),
        CacheLifetime::Playlist { target_duration_s } => for_seconds((target_duration_s / 2).max(1)),
        CacheLifetime::BlockingReload { target_duration_s } => for_seconds(target_duration_s.saturating_mul(6)),
        CacheLifetime::OneSecond => HeaderValue::from_static("public, max-age=1"),
        CacheLifetime::Revalidated => HeaderValue::from_static("no-cache"),
        CacheLifetime::Never => HeaderValue::from_static("no-store"),
    }
}

/// The same for one viewer alone: no shared cache keeps what a token opens.
pub(super) fn private(kept: &HeaderValue) -> HeaderValue {
    let text = kept.to_str().unwrap_or("no-store");
    let private = match text.strip_prefix("public, ") {
        Some(rest) => format!("private, {rest}"),
        None if text == "no-store" => return kept.clone(),
        None => format!("private, {text}"),
    };
    HeaderValue::try_from(private).unwrap_or(HeaderValue::from_static("no-store"))
}

fn for_seconds(seconds: u32) -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={seconds}")).expect("digits")
}

/// What an answer is: a closed set, for metrics and priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Playlist,
    /// A media object of a rendition that has sound only.
    Sound,
    /// Any other media object.
    Picture,
    /// A still image of a stream.
    Image,
    /// A description in JSON, or grants.
    Api,
    /// A piece of the seal log.
    Seals,
    /// A file of the web app.
    Web,
    /// A stream of events.
    Events,
    /// Anything that is not what was asked for.
    Refusal,
}

impl Kind {
    /// In the order of their discriminants.
    pub(super) const ALL: [Self; 9] = [
        Self::Playlist,
        Self::Sound,
        Self::Picture,
        Self::Image,
        Self::Api,
        Self::Seals,
        Self::Web,
        Self::Events,
        Self::Refusal,
    ];

    /// Label in metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Playlist => "playlist",
            Self::Sound | Self::Picture => "media",
            Self::Image => "image",
            Self::Api => "api",
            Self::Seals => "seals",
            Self::Web => "web",
            Self::Events => "events",
            Self::Refusal => "none",
        }
    }
}

/// The header of RFC 9218.
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// Every `Priority` comes from here: the urgency of an answer among those of its connection (RFC 9218, 4.1; RFC 8216bis, B.1:
/// playlists have 1, media 2 to 6, and no bit rate goes before a lower one). Sound is small and is missed first.
pub(super) const fn priority(kind: Kind) -> HeaderValue {
    HeaderValue::from_static(match kind {
        Kind::Playlist | Kind::Refusal => "u=1",
        Kind::Sound => "u=2",
        Kind::Picture => "u=3",
        Kind::Api | Kind::Seals => "u=4",
        Kind::Image => "u=5",
        Kind::Web => "u=6",
        // Nobody misses a picture for a message.
        Kind::Events => "u=7, i",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn playlist_is_kept_for_half_a_target_duration_and_media_for_ever() {
        let playlist = |target_duration_s| cache_control(CacheLifetime::Playlist { target_duration_s });
        assert_eq!(playlist(4), "public, max-age=2");
        assert_eq!(playlist(5), "public, max-age=2");
        assert_eq!(playlist(1), "public, max-age=1");
        assert_eq!(cache_control(CacheLifetime::BlockingReload { target_duration_s: 4 }), "public, max-age=24");
        assert_eq!(cache_control(CacheLifetime::ForEver), "public, max-age=31536000, immutable");
        assert_eq!(cache_control(CacheLifetime::Never), "no-store");
    }

    #[test]
    fn what_a_token_opens_is_private() {
        for (kept, expected) in [
            (CacheLifetime::ForEver, "private, max-age=31536000, immutable"),
            (CacheLifetime::OneSecond, "private, max-age=1"),
            (CacheLifetime::Revalidated, "private, no-cache"),
            (CacheLifetime::Never, "no-store"),
        ] {
            assert_eq!(private(&cache_control(kept)), expected);
        }
    }

    #[test]
    fn playlists_go_before_sound_and_sound_before_pictures() {
        assert_eq!(priority(Kind::Playlist), "u=1");
        let media = [Kind::Sound, Kind::Picture].map(|kind| priority(kind).to_str().unwrap().to_owned());
        assert_eq!(media, ["u=2", "u=3"]);
    }
}
