//! A low-latency media playlist as a client reads it, line by line and without assumptions. Pure.

/// A media segment; if it is open, its parts so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Segment {
    pub msn: u64,
    /// Discontinuity sequence number: discontinuities before it and at it, since the stream began.
    pub discontinuity: u64,
    /// URI and EXTINF as written; none while it is open.
    pub whole: Option<(String, String)>,
    pub date: Option<String>,
    pub map: Option<String>,
    pub gap: bool,
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub uri: String,
    /// DURATION as written.
    pub duration: String,
    pub gap: bool,
}

impl Part {
    pub fn seconds(&self) -> f64 {
        self.duration.parse().expect("DURATION is a number")
    }
}

impl Segment {
    pub fn seconds(&self) -> Option<f64> {
        self.whole.as_ref().map(|(_, extinf)| extinf.parse().expect("EXTINF is a number"))
    }
}

/// The content of a media playlist.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub media_sequence: u64,
    pub part_hold_back: f64,
    pub segments: Vec<Segment>,
}

/// Place of a part: media sequence number and index.
pub type Place = (u64, usize);

impl Listing {
    /// Reads a playlist without skipped segments.
    ///
    /// # Errors
    /// When something is not part of a playlist; names it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some("#EXTM3U") {
            return Err("no #EXTM3U".to_owned());
        }
        let (mut listing, mut open) = (Self::default(), Segment::default());
        let (mut extinf, mut map) = (String::new(), None);
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
        for line in lines {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-MEDIA-SEQUENCE" => {
                    listing.media_sequence = number(value)?;
                    open.msn = listing.media_sequence;
                }
                "#EXT-X-DISCONTINUITY-SEQUENCE" => open.discontinuity = number(value)?,
                "#EXT-X-SERVER-CONTROL" => {
                    let hold_back = attribute(value, "PART-HOLD-BACK").and_then(|text| text.parse().ok());
                    listing.part_hold_back = hold_back.ok_or("no PART-HOLD-BACK")?;
                }
                "#EXT-X-DISCONTINUITY" => open.discontinuity += 1,
                "#EXT-X-MAP" => map = attribute(value, "URI"),
                "#EXT-X-PROGRAM-DATE-TIME" => open.date = Some(value.to_owned()),
                "#EXT-X-GAP" => open.gap = true,
                "#EXTINF" => value.trim_end_matches(',').clone_into(&mut extinf),
                "#EXT-X-PART" => {
                    let uri = attribute(value, "URI").ok_or("a part without URI")?;
                    let duration = attribute(value, "DURATION").ok_or("a part without DURATION")?;
                    let gap = attribute(value, "GAP").as_deref() == Some("YES");
                    open.map.clone_from(&map);
                    open.parts.push(Part { uri, duration, gap });
                }
                _ if !line.is_empty() && !line.starts_with('#') => {
                    open.whole = Some((line.to_owned(), extinf.clone()));
                    open.map.clone_from(&map);
                    let next = Segment { msn: open.msn + 1, discontinuity: open.discontinuity, ..Segment::default() };
                    listing.segments.push(std::mem::replace(&mut open, next));
                }
                _ => {}
            }
        }
        if !open.parts.is_empty() {
            listing.segments.push(open);
        }
        Ok(listing)
    }

    /// The place after its end.
    pub fn end(&self) -> Place {
        match self.segments.last() {
            Some(segment) if segment.whole.is_none() => (segment.msn, segment.parts.len()),
            Some(segment) => (segment.msn + 1, 0),
            None => (self.media_sequence, 0),
        }
    }
}

/// An attribute of a list (RFC 8216bis, 4.2), without its quotes.
fn attribute(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"')?;
                (value, after.strip_prefix(',').unwrap_or(after))
            }
            None => value.split_once(',').unwrap_or((value, "")),
        };
        if key == name {
            return Some(value.to_owned());
        }
        rest = after;
    }
    None
}
