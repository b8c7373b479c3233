//! Blocking playlist reload (RFC 8216bis 6.2.5): what a client asks to wait for, and whether it is there. Pure.
//!
//! Owns only the decision. The shell holds the requests, times them out (after three target durations) and sets the status.

use std::time::Duration;

use media::{Epoch, MediaSequence, PartIndex, Slot};

use crate::Settings;

/// How much of a playlist the client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    #[default]
    Full,
    /// A playlist delta update (6.2.5.1): without the segments older than the skip boundary; the full playlist when there are none.
    Delta,
}

/// The delivery directives of a playlist request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Directives {
    /// `_HLS_msn`: the client wants a playlist with this segment or a later one.
    pub msn: Option<MediaSequence>,
    /// `_HLS_part`: the client wants a playlist with this part of that segment.
    pub part: Option<PartIndex>,
    /// `_HLS_skip`: the client wants a playlist delta update.
    pub extent: Extent,
}

/// Invalid directives: status 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDirective {
    /// The value is not a plain decimal number, or too large.
    #[error("{0} is not a number")]
    NotANumber(&'static str),
    /// The directive occurs more than once.
    #[error("{0} is given twice")]
    Repeated(&'static str),
    /// `_HLS_part` needs `_HLS_msn` (6.2.5.2).
    #[error("_HLS_part without _HLS_msn")]
    PartAlone,
}

impl Directives {
    /// Reads the query of a URL, without its question mark. Ignores other parameters, and unknown directives and values of `_HLS_skip`:
    /// those are optional for a server.
    ///
    /// # Errors
    /// When a directive occurs twice, is not a number, or lacks the directive that it needs.
    pub fn parse(query: &str) -> Result<Self, BadDirective> {
        let (mut msn, mut part, mut skip) = (None, None, None);
        for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            let (name, slot) = match name {
                "_HLS_msn" => ("_HLS_msn", &mut msn),
                "_HLS_part" => ("_HLS_part", &mut part),
                "_HLS_skip" => ("_HLS_skip", &mut skip),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(BadDirective::Repeated(name));
            }
        }
        let msn = msn.map(|text| number(text, "_HLS_msn")).transpose()?;
        let part = part.map(|text| number(text, "_HLS_part")).transpose()?;
        if part.is_some() && msn.is_none() {
            return Err(BadDirective::PartAlone);
        }
        let extent = if matches!(skip, Some("YES" | "v2")) { Extent::Delta } else { Extent::Full };
        Ok(Self { msn: msn.map(MediaSequence), part: part.map(PartIndex), extent })
    }
}

/// Decimal digits only (4.2): `FromStr` of integers accepts a sign too.
fn number<T: std::str::FromStr>(text: &str, name: &'static str) -> Result<T, BadDirective> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(BadDirective::NotANumber(name))
}

/// What to do with a playlist request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Answer with the playlist as it is.
    Now,
    /// Ask again at the next edge.
    Wait,
    /// The request is too far ahead: answer with status 400.
    Refuse(TooFar),
}

/// How a request is further ahead than a client may ask (6.2.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooFar {
    /// `_HLS_msn` is more than two segments after the last complete one.
    #[error("_HLS_msn is more than two segments ahead")]
    Segment,
    /// `_HLS_part` is further after the last part than the Advance Part Limit.
    #[error("_HLS_part is ahead by more than the Advance Part Limit")]
    Part,
}

/// What to do with a request for a media object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The object is there now, or nowhere.
    Now,
    /// The object is hinted here, or another node may have it: ask again at the next edge (6.2.6).
    Wait,
    /// The object is too far ahead, or the stream has ended: status 404.
    Never,
}

/// The part that EXT-X-PRELOAD-HINT names (4.4.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) epoch: Epoch,
    pub(crate) msn: MediaSequence,
    pub(crate) part: PartIndex,
}

/// The end of a stream's playlists: the same in all renditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub(crate) settings: Settings,
    /// The last complete segment.
    pub(crate) last: MediaSequence,
    /// Number of parts of that segment.
    pub(crate) last_parts: u32,
    /// Number of parts so far of the segment after it.
    pub(crate) open_parts: u32,
    pub(crate) epoch: Epoch,
    pub(crate) ended: bool,
}

impl Edge {
    /// The place of the next part; it never goes back while a playlist grows.
    pub const fn place(&self) -> (MediaSequence, PartIndex) {
        (self.last.next(), PartIndex(self.open_parts))
    }

    /// Whether the playlists have EXT-X-ENDLIST, so that requests to wait are ignored (6.2.5.2).
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// How long a request may wait before the node answers 503 (6.2.5.2).
    pub const fn patience(&self) -> Duration {
        Duration::from_secs(3 * self.settings.target_duration_s as u64)
    }

    /// What to do with a playlist request (6.2.5.2).
    pub fn answer(&self, directives: &Directives) -> Answer {
        let Some(msn) = directives.msn.filter(|_| !self.ended) else { return Answer::Now };
        if msn < self.last {
            return Answer::Now;
        }
        let Some(part) = directives.part else { return self.answer_segment(msn) };
        // A part index past the last of its segment is part 0 of the next (6.2.5.2).
        let (msn, part) = if msn > self.last {
            (msn, part)
        } else if part.0 < self.last_parts {
            return Answer::Now;
        } else {
            (self.last.next(), PartIndex(0))
        };
        let (next_msn, next_part) = self.place();
        if (msn, part) < (next_msn, next_part) {
            return Answer::Now;
        }
        match self.answer_segment(msn) {
            Answer::Now | Answer::Wait => {}
            refuse @ Answer::Refuse(_) => return refuse,
        }
        // The least number of parts that must come before the requested one.
        let ahead = if msn == next_msn { part.0 - next_part.0 } else { part.0 };
        if self.is_within_limit(ahead.saturating_add(1)) { Answer::Wait } else { Answer::Refuse(TooFar::Part) }
    }

    fn answer_segment(&self, msn: MediaSequence) -> Answer {
        if msn <= self.last {
            Answer::Now
        } else if msn <= self.last.next().next() {
            Answer::Wait
        } else {
            Answer::Refuse(TooFar::Segment)
        }
    }

    /// The Advance Part Limit: three parts, or three seconds of them where they are shorter than a second (6.2.5.2).
    fn is_within_limit(&self, parts: u32) -> bool {
        let part_ms = u64::from(self.settings.part_target_ms.min(1_000));
        u64::from(parts) * part_ms <= 3_000
    }

    /// What to do with a request for a media object of an existing rendition (6.2.6).
    ///
    /// A client may have its playlist from a node that is a little ahead in the log. So a request for an object that such a playlist can
    /// name waits as if it were hinted here: up to the Advance Part Limit, and in this epoch or the next.
    pub fn object(&self, epoch: Epoch, slot: Slot) -> Presence {
        let is_past = match slot {
            Slot::Part { msn, part } => (msn, part) < self.place(),
            Slot::Segment { msn } | Slot::Image { msn } => msn <= self.last,
            Slot::Init => true,
        };
        if epoch <= self.epoch && is_past {
            return Presence::Now;
        }
        let is_near = epoch == self.epoch || epoch == self.epoch.next();
        if is_near && !self.ended && self.is_foreseen(slot) { Presence::Wait } else { Presence::Never }
    }

    /// Whether the playlist of a node that is a little ahead can name the object.
    fn is_foreseen(&self, slot: Slot) -> bool {
        let (next_msn, next_part) = self.place();
        match slot {
            Slot::Init => true,
            Slot::Segment { msn } | Slot::Image { msn } => msn <= next_msn.next(),
            Slot::Part { msn, part } if msn <= next_msn => {
                self.is_within_limit(part.0.saturating_sub(next_part.0).saturating_add(1))
            }
            Slot::Part { msn, part } => msn == next_msn.next() && self.is_within_limit(part.0.saturating_add(1)),
        }
    }
}
