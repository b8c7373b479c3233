//! Reads media playlists as a client does, and applies delta updates. It knows exactly the tags that we write, each in its allowed
//! place; anything else is a panic.

use std::collections::BTreeMap;

/// A media playlist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Playlist {
    pub(crate) version: u32,
    /// Tags that never change, as written.
    pub(crate) constants: Vec<String>,
    pub(crate) target_s: u64,
    /// PART-TARGET in microseconds.
    pub(crate) part_target: u64,
    /// Attributes of EXT-X-SERVER-CONTROL.
    pub(crate) control: BTreeMap<String, String>,
    pub(crate) msn: u64,
    pub(crate) discontinuity: u64,
    pub(crate) skipped: u64,
    /// Complete segments.
    pub(crate) segments: Vec<Segment>,
    /// The segment that has no URI yet.
    pub(crate) open: Option<Segment>,
    /// TYPE and URI.
    pub(crate) hints: Vec<(String, String)>,
    /// URI, LAST-MSN and LAST-PART.
    pub(crate) reports: Vec<(String, u64, Option<u64>)>,
    pub(crate) ended: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) msn: u64,
    /// EXT-X-DISCONTINUITY precedes it.
    pub(crate) breaks: bool,
    /// The EXT-X-MAP that applies.
    pub(crate) map: Option<String>,
    pub(crate) date: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) gap: bool,
    /// EXTINF in microseconds; 0 while it is open.
    pub(crate) micros: u64,
    pub(crate) range: Option<String>,
    /// Empty while it is open.
    pub(crate) uri: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) micros: u64,
    pub(crate) uri: String,
    pub(crate) independent: bool,
    pub(crate) gap: bool,
}

/// The place of a line, which decides the tags that may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Start,
    Header,
    Segments,
    Tail,
    End,
}

impl Playlist {
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.is_ascii() && text.ends_with('\n') && !text.contains('\r'), "plain lines: {text}");
        let mut reader = Reader { at: At::Start, playlist: Self::default(), next: None, map: None };
        text.lines().for_each(|line| reader.line(line));
        reader.finish()
    }

    /// Segments with the discontinuity sequence number that each has; the open one last.
    pub(crate) fn places(&self) -> Vec<(u64, &Segment)> {
        let mut number = self.discontinuity;
        let all = self.segments.iter().chain(&self.open);
        all.map(|segment| {
            number += u64::from(segment.breaks);
            (number, segment)
        })
        .collect()
    }

    /// Media sequence number of the last complete segment.
    pub(crate) fn last(&self) -> u64 {
        self.segments.last().expect("a playlist lists a segment").msn
    }

    /// The place of the next part.
    pub(crate) fn end(&self) -> (u64, usize) {
        (self.last() + 1, self.open.as_ref().map_or(0, |open| open.parts.len()))
    }

    /// Applies a delta update to this older playlist; `None` when this one does not reach far enough (6.3.7).
    pub(crate) fn merge(&self, delta: &Self) -> Option<Self> {
        let first = self.segments.first()?.msn;
        let kept = delta.msn..delta.msn + delta.skipped;
        if delta.skipped > 0 && (delta.msn < first || kept.end > self.last() + 1) {
            return None;
        }
        let mut merged = Self { skipped: 0, segments: vec![], ..delta.clone() };
        for segment in self.segments.iter().filter(|segment| kept.contains(&segment.msn)) {
            // Playlists no longer list parts that old.
            merged.segments.push(Segment { parts: vec![], ..segment.clone() });
        }
        // Nothing is inherited from skipped segments: the delta update itself has each segment's map.
        merged.segments.extend(delta.segments.iter().cloned());
        Some(merged)
    }
}

struct Reader {
    at: At,
    playlist: Playlist,
    /// The segment whose URI line has not come yet.
    next: Option<Segment>,
    map: Option<String>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let Some(tag) = line.strip_prefix('#') else { return self.uri(line) };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        let header = ["EXTM3U", "EXT-X-VERSION", "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-TARGETDURATION"];
        let media = ["EXT-X-SERVER-CONTROL", "EXT-X-PART-INF", "EXT-X-MEDIA-SEQUENCE", "EXT-X-I-FRAMES-ONLY"];
        let counters = ["EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-SKIP"];
        let at = match name {
            name if header.contains(&name) || media.contains(&name) || counters.contains(&name) => At::Header,
            "EXT-X-PRELOAD-HINT" | "EXT-X-RENDITION-REPORT" => At::Tail,
            "EXT-X-ENDLIST" => At::End,
            _ => At::Segments,
        };
        assert!(at >= self.at && (self.at != At::Start || line == "#EXTM3U"), "{line} is out of place");
        self.at = at;
        match at {
            At::Header => self.header(line, name, value),
            At::Segments => self.segment(name, value),
            At::Tail => self.tail(name, value),
            At::Start | At::End => self.playlist.ended = true,
        }
    }

    fn header(&mut self, line: &str, name: &str, value: &str) {
        let playlist = &mut self.playlist;
        match name {
            "EXT-X-VERSION" => playlist.version = value.parse().unwrap(),
            "EXT-X-MEDIA-SEQUENCE" => playlist.msn = value.parse().unwrap(),
            "EXT-X-DISCONTINUITY-SEQUENCE" => playlist.discontinuity = value.parse().unwrap(),
            "EXT-X-SKIP" => playlist.skipped = attributes(value)["SKIPPED-SEGMENTS"].parse().unwrap(),
            _ => {
                assert!(!playlist.constants.iter().any(|other| other == line), "{line} stands twice");
                playlist.constants.push(line.to_owned());
            }
        }
        match name {
            "EXT-X-TARGETDURATION" => playlist.target_s = value.parse().unwrap(),
            "EXT-X-SERVER-CONTROL" => playlist.control = attributes(value),
            "EXT-X-PART-INF" => playlist.part_target = seconds(&attributes(value)["PART-TARGET"]),
            _ => {}
        }
    }

    fn segment(&mut self, name: &str, value: &str) {
        let map = &mut self.map;
        let before = self.next.is_some();
        let next = self.next.get_or_insert_with(Segment::default);
        let no_part = next.parts.is_empty();
        match name {
            "EXT-X-DISCONTINUITY" if !before => next.breaks = true,
            "EXT-X-MAP" if next.date.is_empty() => {
                let uri = Some(attributes(value)["URI"].clone());
                assert_ne!(*map, uri, "a MAP that applies already");
                *map = uri;
            }
            "EXT-X-PROGRAM-DATE-TIME" if no_part && next.date.is_empty() => value.clone_into(&mut next.date),
            "EXT-X-PART" if !next.date.is_empty() && next.micros == 0 && !next.gap => {
                let attributes = attributes(value);
                let yes = |name: &str| attributes.get(name).is_some_and(|value| value == "YES");
                let (independent, gap) = (yes("INDEPENDENT"), yes("GAP"));
                let micros = seconds(&attributes["DURATION"]);
                next.parts.push(Part { micros, uri: attributes["URI"].clone(), independent, gap });
            }
            "EXT-X-GAP" if !next.gap && next.micros == 0 => next.gap = true,
            "EXTINF" if !next.date.is_empty() && next.micros == 0 => {
                next.micros = seconds(value.strip_suffix(',').unwrap());
            }
            "EXT-X-BYTERANGE" if next.micros > 0 && next.range.is_none() => next.range = Some(value.to_owned()),
            _ => panic!("{name}:{value} is not known here, in {next:?}"),
        }
    }

    fn uri(&mut self, line: &str) {
        assert_eq!(self.at, At::Segments, "{line}");
        let mut segment = self.next.take().expect("a segment has tags");
        assert!(segment.micros > 0, "{line} without a duration");
        line.clone_into(&mut segment.uri);
        segment.msn = self.next_msn();
        segment.map.clone_from(&self.map);
        self.playlist.segments.push(segment);
    }

    fn tail(&mut self, name: &str, value: &str) {
        let attributes = attributes(value);
        let uri = attributes["URI"].clone();
        if name == "EXT-X-PRELOAD-HINT" {
            self.playlist.hints.push((attributes["TYPE"].clone(), uri));
        } else {
            let number = |name: &str| attributes.get(name).map(|value| value.parse().unwrap());
            self.playlist.reports.push((uri, number("LAST-MSN").unwrap(), number("LAST-PART")));
        }
    }

    fn next_msn(&self) -> u64 {
        let count = u64::try_from(self.playlist.segments.len()).unwrap();
        self.playlist.msn + self.playlist.skipped + count
    }

    fn finish(mut self) -> Playlist {
        if let Some(mut open) = self.next.take() {
            assert!(!open.parts.is_empty() && open.micros == 0 && !open.gap, "an open segment is its parts: {open:?}");
            open.msn = self.next_msn();
            open.map.clone_from(&self.map);
            self.playlist.open = Some(open);
        }
        self.playlist
    }
}

/// NAME=value and NAME="value", separated by commas.
pub(crate) fn attributes(list: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut rest = list;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, next) = quoted.split_once('"').expect("the quote ends");
                (value, next.strip_prefix(',').unwrap_or(next))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        assert!(all.insert(name.to_owned(), value.to_owned()).is_none(), "{name} stands twice in {list}");
        rest = next;
    }
    assert!(rest.is_empty(), "{list}");
    all
}

/// Decimal seconds as microseconds.
pub(crate) fn seconds(text: &str) -> u64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 6, "{text}");
    let fraction: u64 = format!("{fraction:0<6}").parse().unwrap();
    whole.parse::<u64>().unwrap() * 1_000_000 + fraction
}
