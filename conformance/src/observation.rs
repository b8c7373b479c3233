//! The record of a run: all versions of a stream's playlists, objects and answers, with their times.
//!
//! Owns the record, and neither takes nor judges it: the shell fills it, and the rows judge it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::media::{Content, Init};
use crate::playlist::{Hint, MediaPlaylist, Multivariant, Part, Position, Segment};

/// An instant: time since the run began.
pub type At = Duration;

/// An HTTP answer without its body.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// URL of the request, before redirects.
    pub url: String,
    /// When the request was sent.
    pub asked: At,
    /// When the first byte of the body arrived; the end of the answer when there was none.
    pub first_byte: At,
    /// When the last byte arrived.
    pub done: At,
    /// Status code; 0 when there was no answer.
    pub status: u16,
    /// `HTTP/1.1`, `HTTP/2.0`, …
    pub http: String,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body as transferred.
    pub length: u64,
    /// Why the answer is not complete, if it is not.
    pub problem: Option<String>,
    /// Redirects on the way: status and target.
    pub redirects: Vec<(u16, String)>,
}

impl Answer {
    /// Value of the first field with this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is a complete 200 or 206.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.status, 200 | 206) && self.problem.is_none()
    }

    /// From request to last byte.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.done.saturating_sub(self.asked)
    }

    /// From request to first byte.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.first_byte.saturating_sub(self.asked)
    }

    /// From first to last byte.
    #[must_use]
    pub fn transfer(&self) -> Duration {
        self.done.saturating_sub(self.first_byte)
    }

    /// The outcome as evidence: the status, and what went wrong.
    #[must_use]
    pub fn outcome(&self) -> String {
        match (&self.problem, self.status) {
            (Some(problem), 0) => problem.clone(),
            (Some(problem), status) => format!("{status}, {problem}"),
            (None, status) => status.to_string(),
        }
    }

    /// Media type without parameters, in lower case.
    #[must_use]
    pub fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or("").trim().to_ascii_lowercase())
    }

    /// `max-age` of Cache-Control.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        let directives = self.header("cache-control")?.split(',');
        let seconds = directives.filter_map(|directive| directive.trim().strip_prefix("max-age=")).next()?;
        Some(Duration::from_secs(seconds.parse().ok()?))
    }
}

/// Which delivery directives a request for a playlist had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// None.
    Plain,
    /// `_HLS_msn`, and perhaps `_HLS_part`.
    Blocking {
        /// `_HLS_msn`.
        msn: u64,
        /// `_HLS_part`.
        part: Option<u64>,
    },
}

/// A request for a media playlist.
#[derive(Debug, Clone)]
pub struct Load {
    pub asked: Asked,
    pub answer: Answer,
    /// End of the playlist; none when the body was no playlist.
    pub end: Option<Position>,
    /// Whether the playlist had EXT-X-ENDLIST.
    pub ended: bool,
}

/// A version of a media playlist, which differs from the one before it.
#[derive(Debug, Clone)]
pub struct Version {
    /// When it arrived.
    pub at: At,
    /// When its request was sent.
    pub sent: At,
    /// Directives of its request.
    pub asked: Asked,
    pub playlist: Arc<MediaPlaylist>,
}

/// A download of an object.
#[derive(Debug, Clone, Default)]
pub struct Fetch {
    pub answer: Answer,
    pub content: Content,
    /// Digest of its bytes.
    pub digest: u64,
}

/// What `ffprobe` and `ffmpeg` report about a segment with its media initialization section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probed {
    pub streams: Vec<ProbedStream>,
    /// Complaints of the decoder when the segment was decoded alone.
    pub decoder: Vec<String>,
}

/// A stream as `ffprobe` describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbedStream {
    /// `video`, `audio`, …
    pub kind: String,
    /// `h264`, `aac`, …
    pub codec: String,
    /// `hvc1`, `avc1`, …
    pub tag: String,
    /// Picture size in pixels.
    pub size: Option<(u64, u64)>,
    /// Sample aspect ratio, width to height.
    pub sample_aspect: Option<(u64, u64)>,
    /// `progressive`, `tt`, …
    pub field_order: Option<String>,
    /// Frames per second, as a fraction.
    pub rate: Option<(u64, u64)>,
    pub channels: Option<u64>,
    /// `stereo`, …
    pub channel_layout: Option<String>,
    /// Samples per second.
    pub sample_rate: Option<u64>,
}

/// A media segment over the run.
#[derive(Debug, Clone)]
pub struct SegmentSeen {
    /// The segment and its tags, as first listed with a URI.
    pub tags: Segment,
    /// Absolute URL.
    pub url: String,
    /// Key of its media initialization section in [`RenditionSeen::inits`].
    pub init: Option<String>,
    /// When it was first seen listed.
    pub listed: At,
    /// Whether the first version listed it already, so that `listed` is not when it was added.
    pub from_start: bool,
    /// When a version first lacked it.
    pub removed: Option<At>,
    /// Its download while it was listed.
    pub fetch: Option<Fetch>,
    /// A second download, to compare speeds, when the first one was slow.
    pub again: Option<Answer>,
    /// A download after it was removed.
    pub late: Option<Answer>,
    /// What the tools report about it.
    pub probed: Option<Probed>,
}

/// A partial segment over the run.
#[derive(Debug, Clone)]
pub struct PartSeen {
    /// Its tag, as first listed.
    pub tag: Part,
    /// Absolute URL.
    pub url: String,
    /// When it was first seen listed.
    pub listed: At,
    /// Whether the first version listed it already.
    pub from_start: bool,
    /// When a version first lacked its tag.
    pub removed: Option<At>,
    /// Its download while it was listed.
    pub fetch: Option<Fetch>,
    /// A download long after its tag was removed.
    pub late: Option<Answer>,
}

/// A preload hint, and the request that was sent for it at once.
#[derive(Debug, Clone)]
pub struct HintSeen {
    pub tag: Hint,
    /// Absolute URL.
    pub url: String,
    /// When it was first seen.
    pub listed: At,
    /// End of the playlist at that time.
    pub end: Option<Position>,
    /// The request, if one was sent.
    pub fetch: Option<Fetch>,
}

/// A media initialization section, loaded once for all objects that name it.
#[derive(Debug, Clone, Default)]
pub struct InitSeen {
    pub answer: Answer,
    /// Empty unless the answer is whole.
    pub init: Init,
}

/// How the multivariant playlist refers to a media playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// There is no multivariant playlist.
    Alone,
    /// URI line of the variant of this index.
    Variant(usize),
    /// URI of the I-frame variant of this index.
    Iframes(usize),
    /// URI of the EXT-X-MEDIA of this index.
    Media(usize),
}

/// A media playlist over the run, with everything that it listed.
#[derive(Debug, Clone, Default)]
pub struct RenditionSeen {
    /// Its URI as written, as a name in reports.
    pub name: String,
    /// Absolute URL.
    pub url: String,
    /// References to it in the multivariant playlist.
    pub roles: Vec<Role>,
    /// Requests, in order of time.
    pub loads: Vec<Load>,
    /// Versions, in order of time.
    pub versions: Vec<Version>,
    /// Segments by media sequence number.
    pub segments: BTreeMap<u64, SegmentSeen>,
    /// Parts by media sequence number and index.
    pub parts: BTreeMap<(u64, u64), PartSeen>,
    /// Media initialization sections by URL and byte range.
    pub inits: BTreeMap<String, InitSeen>,
    /// Preload hints in the order in which they were first seen, one for each URL and start.
    pub hints: Vec<HintSeen>,
    /// Number of objects that were not downloaded because too many downloads were under way.
    pub left_out: usize,
}

impl RenditionSeen {
    /// Whether it is an I-frame playlist.
    #[must_use]
    pub fn is_iframes(&self) -> bool {
        self.roles.iter().any(|role| matches!(role, Role::Iframes(_)))
    }

    /// The version that arrived last; none when no playlist was loaded.
    #[must_use]
    pub fn last(&self) -> Option<&Arc<MediaPlaylist>> {
        self.versions.last().map(|version| &version.playlist)
    }

    /// Versions of plain and of blocking requests, each in order. Different caches may answer the two kinds, so a playlist must not go
    /// back only within each kind.
    #[must_use]
    pub fn chains(&self) -> [Vec<&Version>; 2] {
        let (plain, blocking) = self.versions.iter().partition(|version| version.asked == Asked::Plain);
        [plain, blocking]
    }

    /// The versions with the finest timing: blocking ones after the first plain one, or else plain ones.
    #[must_use]
    pub fn finest(&self) -> Vec<&Version> {
        let [plain, blocking] = self.chains();
        if blocking.len() > 1 { plain.into_iter().take(1).chain(blocking).collect() } else { plain }
    }

    /// The media initialization section of a segment.
    #[must_use]
    pub fn init_of(&self, segment: &SegmentSeen) -> Option<&Init> {
        self.inits.get(segment.init.as_ref()?).map(|seen| &seen.init)
    }
}

/// What a probe requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `_HLS_msn` of a listed segment.
    Listed,
    /// `_HLS_msn` of a removed segment.
    Removed,
    /// `_HLS_part` without `_HLS_msn`.
    PartAlone,
    /// `_HLS_msn` this far beyond the last segment.
    Beyond(u64),
    /// `_HLS_part` beyond the Advance Part Limit, in the segment after the open one.
    BeyondPart,
    /// The part after the last part of a finished segment.
    OverPart,
    /// `_HLS_skip=YES`.
    Delta,
    /// An object that does not exist and was not hinted.
    Unknown,
    /// `_HLS_msn` far beyond the end of an ended playlist.
    Ended,
    /// `_HLS_skip=YES` of an ended playlist.
    EndedDelta,
}

/// A probe and its answer.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Index in [`Observation::renditions`].
    pub rendition: usize,
    pub question: Question,
    /// The playlist just before the probe.
    pub before: Arc<MediaPlaylist>,
    pub answer: Answer,
    /// The playlist in the answer; none for [`Question::Unknown`], and unless the answer is a whole 200.
    pub body: Option<Arc<MediaPlaylist>>,
    /// The playlist just after the probe.
    pub after: Option<Arc<MediaPlaylist>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Negotiated version, such as `TLSv1_3`.
    pub version: String,
    /// Negotiated application protocol (ALPN), such as `h2`.
    pub protocol: Option<String>,
}

/// The whole record of a run.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// URL to check.
    pub url: String,
    /// How long the run lasted.
    pub lasted: Duration,
    /// The answer to the first request.
    pub first: Answer,
    /// The multivariant playlist, if the URL is one.
    pub multivariant: Option<Arc<Multivariant>>,
    /// Media playlists.
    pub renditions: Vec<RenditionSeen>,
    pub probes: Vec<Probe>,
    /// TLS, when the URL is https.
    pub tls: Option<Tls>,
    /// Why `ffprobe` and `ffmpeg` were not used, if so.
    pub tools_missing: Option<String>,
    /// Tolerance for timings: round trip and scheduling.
    pub slack: Duration,
    /// Interval between two plain requests for a playlist.
    pub interval: Duration,
}

impl Observation {
    /// Media playlists that are not I-frame playlists.
    pub fn regular(&self) -> impl Iterator<Item = &RenditionSeen> {
        self.renditions.iter().filter(|rendition| !rendition.is_iframes())
    }

    /// Every version of every media playlist, with its rendition.
    pub fn versions(&self) -> impl Iterator<Item = (&RenditionSeen, &Version)> {
        self.renditions.iter().flat_map(|rendition| rendition.versions.iter().map(move |version| (rendition, version)))
    }

    /// The first version of each media playlist.
    pub fn firsts(&self) -> impl Iterator<Item = (&RenditionSeen, &Arc<MediaPlaylist>)> {
        self.renditions.iter().filter_map(|rendition| Some((rendition, &rendition.versions.first()?.playlist)))
    }

    /// The newest version of each media playlist.
    pub fn lasts(&self) -> impl Iterator<Item = (&RenditionSeen, &Arc<MediaPlaylist>)> {
        self.renditions.iter().filter_map(|rendition| Some((rendition, rendition.last()?)))
    }

    /// Whether a playlist began without EXT-X-ENDLIST.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.firsts().any(|(_, playlist)| !playlist.ended)
    }

    /// Whether any playlist lists or announces partial segments.
    #[must_use]
    pub fn is_low_latency(&self) -> bool {
        self.versions().any(|(_, version)| version.playlist.low_latency())
    }

    /// Downloads of segments, with rendition and media sequence number.
    pub fn fetched(&self) -> impl Iterator<Item = (&RenditionSeen, u64, &SegmentSeen, &Fetch)> {
        self.renditions.iter().flat_map(|rendition| {
            rendition.segments.iter().filter_map(move |(msn, seen)| Some((rendition, *msn, seen, seen.fetch.as_ref()?)))
        })
    }
}
