//! A playlist as lines: what RFC 8216bis 4.1 says about the text itself, before any tag is understood.
//!
//! Pure. Keeps what is wrong beside what was read, so that one broken line does not hide the rest.

use std::sync::Arc;

/// A playlist longer than this is not read to its end: a day of one-second segments with every tag is below it.
pub const PLAYLIST_BYTES_MAX: usize = 16 << 20;
/// More lines than this are not looked at.
pub const LINES_MAX: usize = 400_000;
/// More faults than this in one playlist say nothing new.
pub const FAULTS_MAX: usize = 64;

/// What is wrong with a playlist, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1; 0 when it is about the playlist as a whole.
    pub line: usize,
    /// What is wrong, with the text that shows it.
    pub what: String,
    /// Section of RFC 8216bis that says so.
    pub section: &'static str,
}

impl Fault {
    /// As evidence: `line 7: …`.
    #[must_use]
    pub fn evidence(&self) -> String {
        if self.line == 0 { self.what.clone() } else { format!("line {}: {}", self.line, self.what) }
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `#EXT…`, with what stands after the first colon.
    Tag { name: String, value: Option<String> },
    /// A URI.
    Uri(String),
}

/// A line that says something: neither blank nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// What it is.
    pub kind: Kind,
}

/// A playlist's text, taken apart into lines.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// As received, with what is not UTF-8 replaced.
    pub raw: Arc<str>,
    /// The lines that say something.
    pub lines: Vec<Line>,
    /// What is wrong with the text as text (4.1).
    pub faults: Vec<Fault>,
    /// It starts with the EXTM3U tag (4.4.1.1).
    pub starts_right: bool,
    /// Its last line is ended by a line feed, as every line is (4.1). One that is not was cut off, or never finished.
    pub ends_right: bool,
}

impl Text {
    /// Takes bytes apart. Never fails: what cannot be understood is a fault.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut faults = Vec::new();
        let bytes = bytes.get(..PLAYLIST_BYTES_MAX).unwrap_or(bytes);
        if let Err(error) = std::str::from_utf8(bytes) {
            let line = 1 + bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
            faults.push(Fault { line, what: "not UTF-8".to_owned(), section: "4.1" });
        }
        let raw = String::from_utf8_lossy(bytes).into_owned();
        let mut body = raw.as_str();
        if let Some(rest) = body.strip_prefix('\u{feff}') {
            faults.push(Fault { line: 1, what: "starts with a byte order mark".to_owned(), section: "4.1" });
            body = rest;
        }
        let mut lines = Vec::new();
        for (index, line) in body.split('\n').take(LINES_MAX).enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            read_line(index + 1, line, &mut lines, &mut faults);
        }
        let starts_right = body.split('\n').next().is_some_and(|line| line.trim_end_matches('\r') == "#EXTM3U");
        let ends_right = body.ends_with('\n');
        faults.truncate(FAULTS_MAX);
        Self { raw: raw.into(), lines, faults, starts_right, ends_right }
    }

    /// All lines that are this tag.
    pub fn tags<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = (usize, &'a str)> + 'a {
        self.lines.iter().filter_map(move |line| match &line.kind {
            Kind::Tag { name, value } if name == wanted => Some((line.number, value.as_deref().unwrap_or(""))),
            _ => None,
        })
    }

    /// Whether the tag is there at all.
    #[must_use]
    pub fn has(&self, wanted: &str) -> bool {
        self.tags(wanted).next().is_some()
    }

    /// The line as it stands in the playlist, for evidence.
    #[must_use]
    pub fn line(&self, number: usize) -> &str {
        self.raw.split('\n').nth(number.saturating_sub(1)).unwrap_or("").trim_end_matches('\r')
    }
}

fn read_line(number: usize, line: &str, lines: &mut Vec<Line>, faults: &mut Vec<Fault>) {
    if let Some(found) = line.chars().find(|c| c.is_control()) {
        let what = format!("control character U+{:04X}", u32::from(found));
        faults.push(Fault { line: number, what, section: "4.1" });
    }
    if line.is_empty() {
        return;
    }
    if line.trim() != line {
        let what = format!("white space around {:?}", shortened(line));
        faults.push(Fault { line: number, what, section: "4.1" });
    }
    let line = line.trim();
    if let Some(tag) = line.strip_prefix('#') {
        if tag.starts_with("EXT") {
            let (name, value) = tag.split_once(':').map_or((tag, None), |(name, value)| (name, Some(value.to_owned())));
            lines.push(Line { number, kind: Kind::Tag { name: name.to_owned(), value } });
        }
    } else if !line.is_empty() {
        if line.contains(char::is_whitespace) {
            let what = format!("white space in the URI {:?}", shortened(line));
            faults.push(Fault { line: number, what, section: "4.1" });
        }
        lines.push(Line { number, kind: Kind::Uri(line.to_owned()) });
    }
}

/// A line short enough to be evidence.
#[must_use]
pub fn shortened(line: &str) -> String {
    const CHARS_MAX: usize = 160;
    if line.chars().count() <= CHARS_MAX {
        return line.to_owned();
    }
    line.chars().take(CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tags_uris_comments_or_blank() {
        let text = Text::read(b"#EXTM3U\r\n# a comment\n\n#EXTINF:4.0,\na.ts\n");
        assert!(text.starts_right && text.ends_right && text.faults.is_empty());
        let kinds: Vec<_> = text.lines.iter().map(|line| (line.number, line.kind.clone())).collect();
        let tag =
            |name: &str, value: Option<&str>| Kind::Tag { name: name.to_owned(), value: value.map(str::to_owned) };
        assert_eq!(
            kinds,
            [(1, tag("EXTM3U", None)), (4, tag("EXTINF", Some("4.0,"))), (5, Kind::Uri("a.ts".to_owned()))]
        );
        assert_eq!(text.line(4), "#EXTINF:4.0,");
    }

    #[test]
    fn mark_controls_and_other_encodings_are_faults_with_their_line() {
        let faults = |bytes: &[u8]| Text::read(bytes).faults.iter().map(Fault::evidence).collect::<Vec<_>>();
        assert_eq!(faults(b"\xef\xbb\xbf#EXTM3U\n"), ["line 1: starts with a byte order mark"]);
        assert_eq!(faults(b"#EXTM3U\na\x0bb\n").first().unwrap(), "line 2: control character U+000B");
        assert_eq!(faults(b"#EXTM3U\n\xff\n").first().unwrap(), "line 2: not UTF-8");
        assert_eq!(faults(b"#EXTM3U\n a.ts\n"), ["line 2: white space around \" a.ts\""]);
    }

    #[test]
    fn text_without_a_last_line_feed_is_not_finished() {
        assert!(!Text::read(b"#EXTM3U\n#EXTINF:4,").ends_right);
        assert!(!Text::read(b"").starts_right);
    }
}
