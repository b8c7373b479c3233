//! A playlist as lines: checks the rules of RFC 8216bis 4.1 about the text itself, before any tag is read.
//!
//! Pure. Keeps faults beside what was read, so that one broken line does not hide the rest.

use std::sync::Arc;

/// Most bytes that are read of a playlist: more than a day of one-second segments with every tag.
pub const PLAYLIST_BYTES_MAX: usize = 16 << 20;
/// Most lines that are read of a playlist.
pub const LINES_MAX: usize = 400_000;
/// Most faults that are kept of one playlist; more show nothing new.
pub const FAULTS_MAX: usize = 64;

/// A fault of a playlist, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1; 0 for the playlist as a whole.
    pub line: usize,
    /// What is wrong, with the text that shows it.
    pub what: String,
    /// Section of RFC 8216bis with the broken rule.
    pub section: &'static str,
}

impl Fault {
    /// The fault as evidence: `line 7: …`.
    #[must_use]
    pub fn evidence(&self) -> String {
        if self.line == 0 { self.what.clone() } else { format!("line {}: {}", self.line, self.what) }
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `#EXT…`, with the text after the first colon.
    Tag { name: String, value: Option<String> },
    /// Any other text, as written.
    Uri(String),
}

/// A line that is neither blank nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    pub kind: Kind,
}

/// A playlist's text, split into lines.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// As received; what is not UTF-8 is replaced.
    pub raw: Arc<str>,
    /// The lines that are neither blank nor comments.
    pub lines: Vec<Line>,
    /// Faults of the text as such (4.1).
    pub faults: Vec<Fault>,
    /// Whether it starts with the EXTM3U tag (4.4.1.1).
    pub starts_right: bool,
    /// Whether a line feed ends its last line, as every line (4.1). Without it, the text was cut off or is unfinished.
    pub ends_right: bool,
}

impl Text {
    /// Splits bytes into lines. Never fails: what cannot be read becomes a fault.
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

    /// All lines with this tag: number and value.
    pub fn tags<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = (usize, &'a str)> + 'a {
        self.lines.iter().filter_map(move |line| match &line.kind {
            Kind::Tag { name, value } if name == wanted => Some((line.number, value.as_deref().unwrap_or(""))),
            _ => None,
        })
    }

    /// Whether the playlist has this tag.
    #[must_use]
    pub fn has(&self, wanted: &str) -> bool {
        self.tags(wanted).next().is_some()
    }

    /// A line as written, for evidence.
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

/// A line, shortened for evidence.
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
