//! Media playlists. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::tags::{Class, class, once};
use super::text::{FAULTS_MAX, Fault, Kind, Text};
use super::{Attributes, ByteRange, decimal};

/// `EXT-X-MAP`: location of the media initialization section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Map {
    /// As written.
    pub uri: String,
    /// Byte range of the resource; none for all of it.
    pub range: Option<ByteRange>,
}

/// `EXT-X-KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The attributes as written.
    pub written: String,
    /// METHOD.
    pub method: String,
    /// KEYFORMAT, "identity" when absent.
    pub format: String,
}

/// `EXT-X-PART`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Line of the tag.
    pub line: usize,
    /// As written.
    pub uri: String,
    /// DURATION.
    pub duration: Duration,
    /// INDEPENDENT=YES.
    pub independent: bool,
    /// GAP=YES.
    pub gap: bool,
    /// BYTERANGE.
    pub range: Option<ByteRange>,
}

/// A media segment with every tag that applies to it. Without a URI, it is the open segment, which lists only parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// Line of its URI; of its first part when it has none yet.
    pub line: usize,
    /// As written; empty while only parts are listed.
    pub uri: String,
    /// EXTINF.
    pub duration: Duration,
    /// EXTINF as written.
    pub duration_text: String,
    /// EXT-X-BYTERANGE.
    pub range: Option<ByteRange>,
    /// Whether EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// EXT-X-GAP.
    pub gap: bool,
    /// EXT-X-PROGRAM-DATE-TIME of its own, in microseconds since 1970.
    pub date_time: Option<i64>,
    /// The media initialization section that applies.
    pub map: Option<Map>,
    /// The keys that apply, one for each key format.
    pub keys: Vec<Key>,
    /// EXT-X-PART tags before it.
    pub parts: Vec<Part>,
    /// Tags that apply to the segment but stand after its first part, which 4.4.4.9 forbids, with their lines.
    pub late_tags: Vec<(usize, String)>,
}

impl Segment {
    /// Whether its bytes can be parsed: neither the segment nor its samples are encrypted.
    #[must_use]
    pub fn clear(&self) -> bool {
        self.keys.iter().all(|key| key.method == "NONE")
    }
}

/// `EXT-X-SKIP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// Line of the tag.
    pub line: usize,
    /// SKIPPED-SEGMENTS.
    pub segments: u64,
}

/// `EXT-X-PRELOAD-HINT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Line of the tag.
    pub line: usize,
    /// TYPE: PART or MAP.
    pub kind: String,
    /// As written.
    pub uri: String,
    /// BYTERANGE-START, 0 when absent.
    pub start: u64,
    /// BYTERANGE-LENGTH.
    pub length: Option<u64>,
}

/// `EXT-X-RENDITION-REPORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Line of the tag.
    pub line: usize,
    /// As written.
    pub uri: Option<String>,
    /// LAST-MSN.
    pub last_msn: Option<u64>,
    /// LAST-PART.
    pub last_part: Option<u64>,
}

/// Position of the end of a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Media sequence number of the newest segment or part.
    pub msn: u64,
    /// Parts listed of it; `u64::MAX` when the segment itself is listed.
    pub parts: u64,
}

impl Position {
    /// Value of `parts` when the segment itself is listed.
    pub const WHOLE: u64 = u64::MAX;
}

/// A media playlist, as far as it could be parsed.
#[derive(Debug, Clone, Default)]
pub struct MediaPlaylist {
    /// The text it was read from.
    pub text: Arc<Text>,
    /// EXT-X-VERSION.
    pub version: Option<u64>,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration: Option<u64>,
    /// EXT-X-MEDIA-SEQUENCE, if present.
    pub media_sequence: Option<u64>,
    /// EXT-X-DISCONTINUITY-SEQUENCE, if present.
    pub discontinuity_sequence: Option<u64>,
    /// EXT-X-PLAYLIST-TYPE.
    pub playlist_type: Option<String>,
    /// EXT-X-ENDLIST.
    pub ended: bool,
    /// EXT-X-I-FRAMES-ONLY.
    pub iframes_only: bool,
    /// EXT-X-PART-INF:PART-TARGET.
    pub part_target: Option<Duration>,
    /// EXT-X-SERVER-CONTROL.
    pub control: Option<Attributes>,
    /// EXT-X-SKIP; if present, `segments` lacks the skipped ones.
    pub skip: Option<Skip>,
    /// Segments with a URI.
    pub segments: Vec<Segment>,
    /// The segment of which only parts are listed.
    pub open: Option<Segment>,
    /// EXT-X-PRELOAD-HINT tags, in order.
    pub hints: Vec<Hint>,
    /// EXT-X-RENDITION-REPORT tags, in order.
    pub reports: Vec<Report>,
    /// What is wrong with its tags (4.4).
    pub faults: Vec<Fault>,
}

impl MediaPlaylist {
    /// Reads the tags of a text.
    #[must_use]
    pub fn read(text: &Arc<Text>) -> Self {
        let mut reader = Reader { playlist: Self { text: text.clone(), ..Self::default() }, ..Reader::default() };
        for line in &text.lines {
            match &line.kind {
                Kind::Tag { name, value } => reader.tag(line.number, name, value.as_deref()),
                Kind::Uri(uri) => reader.uri(line.number, uri),
            }
        }
        reader.finish()
    }

    /// Media sequence number of the first segment, even if it is skipped.
    #[must_use]
    pub fn first_msn(&self) -> u64 {
        self.media_sequence.unwrap_or(0)
    }

    /// Media sequence number of the first segment that is listed with its tags.
    #[must_use]
    pub fn first_listed_msn(&self) -> u64 {
        self.first_msn().saturating_add(self.skip.map_or(0, |skip| skip.segments))
    }

    /// Segments with their media sequence numbers.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (u64, &Segment)> + ExactSizeIterator {
        let first = self.first_listed_msn();
        self.segments
            .iter()
            .enumerate()
            .map(move |(index, segment)| (first.saturating_add(u64::try_from(index).unwrap_or(u64::MAX)), segment))
    }

    /// As [`Self::numbered`], with the open segment at the end.
    pub fn numbered_with_open(&self) -> impl Iterator<Item = (u64, &Segment)> {
        self.numbered().chain(self.open.iter().map(|open| (self.next_msn(), open)))
    }

    /// The segment with this media sequence number, if it is listed.
    #[must_use]
    pub fn segment(&self, msn: u64) -> Option<&Segment> {
        let index = msn.checked_sub(self.first_listed_msn())?;
        self.segments.get(usize::try_from(index).ok()?)
    }

    /// Media sequence number of the segment that will be listed next.
    #[must_use]
    pub fn next_msn(&self) -> u64 {
        self.first_listed_msn().saturating_add(u64::try_from(self.segments.len()).unwrap_or(u64::MAX))
    }

    /// Its end; none when it is empty.
    #[must_use]
    pub fn end(&self) -> Option<Position> {
        if let Some(open) = &self.open {
            let parts = u64::try_from(open.parts.len()).unwrap_or(u64::MAX);
            return Some(Position { msn: self.next_msn(), parts });
        }
        self.next_msn()
            .checked_sub(1)
            .filter(|_| !self.segments.is_empty())
            .map(|msn| Position { msn, parts: Position::WHOLE })
    }

    /// Sum of the durations of its segments (4.1), without skipped and open ones.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.segments.iter().map(|segment| segment.duration).sum()
    }

    /// Target duration, limited to 1 s to 1 h; 1 s when it is missing, so that nothing waits for ever.
    #[must_use]
    pub fn target(&self) -> Duration {
        Duration::from_secs(self.target_duration.unwrap_or(1).clamp(1, 3_600))
    }

    /// Discontinuity sequence number of each segment (6.2.1), by media sequence number.
    #[must_use]
    pub fn discontinuity_numbers(&self) -> BTreeMap<u64, u64> {
        let mut number = self.discontinuity_sequence.unwrap_or(0);
        let mut numbers = BTreeMap::new();
        for (msn, segment) in self.numbered_with_open() {
            number += u64::from(segment.discontinuity);
            numbers.insert(msn, number);
        }
        numbers
    }

    /// Date and time of each segment, by media sequence number: its own, or that of an earlier segment plus durations, up to the next
    /// discontinuity.
    #[must_use]
    pub fn date_times(&self) -> BTreeMap<u64, i64> {
        let mut running: Option<i64> = None;
        let mut times = BTreeMap::new();
        for (msn, segment) in self.numbered_with_open() {
            if segment.discontinuity {
                running = None;
            }
            let at = segment.date_time.or(running);
            if let Some(at) = at {
                times.insert(msn, at);
            }
            let duration = i64::try_from(segment.duration.as_micros()).unwrap_or(i64::MAX);
            running = at.map(|at| at.saturating_add(duration));
        }
        times
    }

    /// CAN-BLOCK-RELOAD=YES.
    #[must_use]
    pub fn can_block(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.yes("CAN-BLOCK-RELOAD"))
    }

    /// CAN-SKIP-UNTIL.
    #[must_use]
    pub fn skip_boundary(&self) -> Option<Duration> {
        self.control.as_ref()?.seconds("CAN-SKIP-UNTIL")
    }

    /// Whether it uses partial segments.
    #[must_use]
    pub fn low_latency(&self) -> bool {
        self.part_target.is_some()
            || self.open.is_some()
            || self.segments.iter().any(|segment| !segment.parts.is_empty())
    }
}

/// State of reading tags one after the other.
#[derive(Debug, Default)]
struct Reader {
    playlist: MediaPlaylist,
    seen: BTreeMap<String, usize>,
    /// The segment that the current tags belong to.
    next: Segment,
    next_has_tags: bool,
    has_extinf: bool,
    map: Option<Map>,
    keys: Vec<Key>,
    previous_range_end: Option<(String, u64)>,
}

impl Reader {
    fn fault(&mut self, line: usize, section: &'static str, what: String) {
        if self.playlist.faults.len() < FAULTS_MAX {
            self.playlist.faults.push(Fault { line, what, section });
        }
    }

    fn tag(&mut self, line: usize, name: &str, value: Option<&str>) {
        if let Some(earlier) = self.seen.get(name).copied()
            && once(name)
        {
            self.fault(line, "4.4.3", format!("a second {name}; the first is in line {earlier}"));
            return;
        }
        self.seen.entry(name.to_owned()).or_insert(line);
        match class(name) {
            Class::MediaPlaylist => self.playlist_tag(line, name, value),
            Class::Segment => self.segment_tag(line, name, value),
            Class::Metadata => self.metadata_tag(line, name, value),
            Class::Multivariant => {
                self.fault(line, "4.4.6", format!("{name}, a multivariant playlist tag, in a media playlist"));
            }
            Class::Basic if name == "EXT-X-VERSION" => {
                self.playlist.version = self.number(line, name, value, "4.4.1.2");
            }
            Class::Basic | Class::Either | Class::Define | Class::Unknown => {}
        }
    }

    fn number(&mut self, line: usize, name: &str, value: Option<&str>, section: &'static str) -> Option<u64> {
        let read = value.and_then(decimal::counter);
        if read.is_none() {
            self.fault(line, section, format!("{name}:{} is no usable decimal integer", value.unwrap_or("")));
        }
        read
    }

    fn attributes(&mut self, line: usize, name: &str, value: Option<&str>) -> Attributes {
        let (attributes, faults) = Attributes::read(value.unwrap_or(""));
        for fault in faults {
            self.fault(line, "4.2", format!("{name}: {fault}"));
        }
        attributes
    }

    fn playlist_tag(&mut self, line: usize, name: &str, value: Option<&str>) {
        match name {
            "EXT-X-TARGETDURATION" => {
                self.playlist.target_duration = self.number(line, name, value, "4.4.3.1");
                if self.playlist.target_duration == Some(0) {
                    self.fault(line, "4.4.3.1", "EXT-X-TARGETDURATION is below 1".to_owned());
                }
            }
            "EXT-X-MEDIA-SEQUENCE" => {
                self.before_first_segment(line, name, "4.4.3.2");
                self.playlist.media_sequence = self.number(line, name, value, "4.4.3.2");
            }
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.before_first_segment(line, name, "4.4.3.3");
                if self.seen.contains_key("EXT-X-DISCONTINUITY") {
                    self.fault(line, "4.4.3.3", format!("{name} after an EXT-X-DISCONTINUITY"));
                }
                self.playlist.discontinuity_sequence = self.number(line, name, value, "4.4.3.3");
            }
            "EXT-X-ENDLIST" => self.playlist.ended = true,
            "EXT-X-PLAYLIST-TYPE" => {
                let kind = value.unwrap_or("");
                if !matches!(kind, "EVENT" | "VOD") {
                    self.fault(line, "4.4.3.5", format!("{name}:{kind} is neither EVENT nor VOD"));
                }
                self.playlist.playlist_type = Some(kind.to_owned());
            }
            "EXT-X-I-FRAMES-ONLY" => self.playlist.iframes_only = true,
            "EXT-X-PART-INF" => {
                self.playlist.part_target = self.attributes(line, name, value).seconds("PART-TARGET");
                if self.playlist.part_target.is_none() {
                    self.fault(line, "4.4.3.7", format!("{name} without PART-TARGET"));
                }
            }
            _ => self.playlist.control = Some(self.attributes(line, name, value)),
        }
    }

    fn before_first_segment(&mut self, line: usize, name: &str, section: &'static str) {
        if !self.playlist.segments.is_empty() || !self.next.parts.is_empty() {
            self.fault(line, section, format!("{name} after the first media segment"));
        }
    }

    fn segment_tag(&mut self, line: usize, name: &str, value: Option<&str>) {
        self.next_has_tags = true;
        let applies_to_parts =
            matches!(name, "EXT-X-DISCONTINUITY" | "EXT-X-KEY" | "EXT-X-MAP" | "EXT-X-PROGRAM-DATE-TIME");
        if applies_to_parts && !self.next.parts.is_empty() {
            self.next.late_tags.push((line, name.to_owned()));
        }
        match name {
            "EXTINF" => self.extinf(line, value.unwrap_or("")),
            "EXT-X-BYTERANGE" => {
                self.next.range = value.and_then(ByteRange::read);
                if self.next.range.is_none() {
                    self.fault(line, "4.4.4.2", format!("{name}:{} is not a byte range", value.unwrap_or("")));
                }
            }
            "EXT-X-DISCONTINUITY" => self.next.discontinuity = true,
            "EXT-X-KEY" => self.key(line, value),
            "EXT-X-MAP" => {
                let attributes = self.attributes(line, name, value);
                let range = attributes.quoted("BYTERANGE").and_then(ByteRange::read);
                self.map = attributes.quoted("URI").map(|uri| Map { uri: uri.to_owned(), range });
                if self.map.is_none() {
                    self.fault(line, "4.4.4.5", "EXT-X-MAP without a quoted URI".to_owned());
                }
            }
            "EXT-X-PROGRAM-DATE-TIME" => {
                self.next.date_time = value.and_then(decimal::date_time);
                if self.next.date_time.is_none() {
                    self.fault(line, "4.4.4.6", format!("{name}:{} is not a date and time", value.unwrap_or("")));
                }
            }
            "EXT-X-GAP" => self.next.gap = true,
            "EXT-X-PART" => self.part(line, value),
            _ => {}
        }
    }

    fn extinf(&mut self, line: usize, value: &str) {
        if std::mem::replace(&mut self.has_extinf, true) {
            self.fault(line, "4.4.4.1", "a second EXTINF for the same segment".to_owned());
        }
        let number = value.split_once(',').map_or(value, |(number, _)| number);
        if !value.contains(',') {
            self.fault(line, "4.4.4.1", format!("EXTINF:{value} has no comma after the duration"));
        }
        match decimal::seconds(number) {
            Some(duration) => self.next.duration = duration,
            None => self.fault(line, "4.4.4.1", format!("EXTINF:{number} is not a number of seconds")),
        }
        number.clone_into(&mut self.next.duration_text);
    }

    fn key(&mut self, line: usize, value: Option<&str>) {
        let attributes = self.attributes(line, "EXT-X-KEY", value);
        let Some(method) = attributes.text("METHOD").map(str::to_owned) else {
            self.fault(line, "4.4.4.4", "EXT-X-KEY without METHOD".to_owned());
            return;
        };
        if method == "NONE" {
            self.keys.clear();
            return;
        }
        if attributes.quoted("URI").is_none() {
            self.fault(line, "4.4.4.4", format!("EXT-X-KEY:METHOD={method} without a quoted URI"));
        }
        let format = attributes.quoted("KEYFORMAT").unwrap_or("identity").to_owned();
        self.keys.retain(|key| key.format != format);
        self.keys.push(Key { written: value.unwrap_or("").to_owned(), method, format });
    }

    fn part(&mut self, line: usize, value: Option<&str>) {
        let attributes = self.attributes(line, "EXT-X-PART", value);
        let (uri, duration) = (attributes.quoted("URI"), attributes.seconds("DURATION"));
        if uri.is_none() || duration.is_none() {
            self.fault(line, "4.4.4.9", "EXT-X-PART without a quoted URI and a DURATION".to_owned());
        }
        for name in ["INDEPENDENT", "GAP"] {
            if attributes.get(name).is_some() && !attributes.yes(name) {
                self.fault(line, "4.4.4.9", format!("EXT-X-PART: {name} is not YES"));
            }
        }
        if self.next.parts.is_empty() {
            self.next.line = line;
        }
        self.next.parts.push(Part {
            line,
            uri: uri.unwrap_or("").to_owned(),
            duration: duration.unwrap_or_default(),
            independent: attributes.yes("INDEPENDENT"),
            gap: attributes.yes("GAP"),
            range: attributes.quoted("BYTERANGE").and_then(ByteRange::read),
        });
    }

    fn metadata_tag(&mut self, line: usize, name: &str, value: Option<&str>) {
        let attributes = self.attributes(line, name, value);
        match name {
            "EXT-X-SKIP" => match attributes.counter("SKIPPED-SEGMENTS") {
                Some(segments) => self.playlist.skip = Some(Skip { line, segments }),
                None => self.fault(line, "4.4.5.2", "EXT-X-SKIP without SKIPPED-SEGMENTS".to_owned()),
            },
            "EXT-X-PRELOAD-HINT" => {
                let (kind, uri) = (attributes.text("TYPE"), attributes.quoted("URI"));
                if !matches!(kind, Some("PART" | "MAP")) || uri.is_none() {
                    self.fault(line, "4.4.5.3", "EXT-X-PRELOAD-HINT without TYPE=PART|MAP and a quoted URI".to_owned());
                }
                self.playlist.hints.push(Hint {
                    line,
                    kind: kind.unwrap_or("").to_owned(),
                    uri: uri.unwrap_or("").to_owned(),
                    start: attributes.integer("BYTERANGE-START").unwrap_or(0),
                    length: attributes.integer("BYTERANGE-LENGTH"),
                });
            }
            "EXT-X-RENDITION-REPORT" => self.playlist.reports.push(Report {
                line,
                uri: attributes.quoted("URI").map(str::to_owned),
                last_msn: attributes.counter("LAST-MSN"),
                last_part: attributes.counter("LAST-PART"),
            }),
            _ => {
                if attributes.quoted("ID").is_none() {
                    self.fault(line, "4.4.5.1", "EXT-X-DATERANGE without a quoted ID".to_owned());
                }
            }
        }
    }

    fn uri(&mut self, line: usize, uri: &str) {
        if !std::mem::take(&mut self.has_extinf) {
            self.fault(line, "4.4.4.1", format!("{uri} has no EXTINF"));
        }
        self.next_has_tags = false;
        let mut segment = std::mem::take(&mut self.next);
        segment.line = line;
        uri.clone_into(&mut segment.uri);
        segment.map.clone_from(&self.map);
        segment.keys.clone_from(&self.keys);
        if let Some(range) = &mut segment.range {
            if range.offset.is_none() {
                range.offset = self.previous_range_end.take().filter(|(of, _)| of == uri).map(|(_, end)| end);
            }
            if range.offset.is_none() {
                self.fault(line, "4.4.4.2", format!("{uri}: byte range without offset, and none before it"));
            }
            self.previous_range_end = Some((uri.to_owned(), range.offset.unwrap_or(0).saturating_add(range.length)));
        } else {
            self.previous_range_end = None;
        }
        self.playlist.segments.push(segment);
    }

    fn finish(mut self) -> MediaPlaylist {
        if self.has_extinf {
            self.fault(0, "4.4.4.1", "ends with an EXTINF that has no URI".to_owned());
        }
        if !self.next.parts.is_empty()
            || (self.next_has_tags && (self.next.discontinuity || self.next.date_time.is_some()))
        {
            let mut open = self.next;
            open.map = self.map;
            open.keys = self.keys;
            // Tags alone, such as a discontinuity before the first part, are no segment yet.
            self.playlist.open = (!open.parts.is_empty()).then_some(open);
        }
        self.playlist
    }
}
