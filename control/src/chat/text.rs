//! Texts of writers: what of them is shown. Pure.

use messages::{CHAT_NAME_BYTES_MAX, CHAT_NAME_CHARS_MAX, CHAT_TEXT_BYTES_MAX, CHAT_TEXT_CHARS_MAX};

/// Most marks over one letter; more of them grow over the lines around.
const MARKS_MAX: usize = 3;

/// Most bytes that are read of a name which somebody else bounds.
const KNOWN_NAME_BYTES_MAX: usize = 512;

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Empty,
    TooLong,
}

impl Refused {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Empty => "required",
            Self::TooLong => "too_long",
        }
    }
}

/// The text of a message: one line, without what nobody sees or what turns the order of letters around.
pub(crate) fn message(text: &str) -> Result<String, Refused> {
    bounded(text, CHAT_TEXT_CHARS_MAX, CHAT_TEXT_BYTES_MAX)
}

/// The name of a writer.
pub(crate) fn name(text: &str) -> Result<String, Refused> {
    bounded(text, CHAT_NAME_CHARS_MAX, CHAT_NAME_BYTES_MAX)
}

/// The name of somebody whose name is known, such as a member's: as much of it as a chat has room for. `None` when nothing of it is seen.
pub(crate) fn known_name(text: &str) -> Option<String> {
    let mut short = String::new();
    for character in cleaned(text.get(..text.floor_char_boundary(KNOWN_NAME_BYTES_MAX)).unwrap_or_default()).chars() {
        if short.chars().count() >= CHAT_NAME_CHARS_MAX || short.len() + character.len_utf8() > CHAT_NAME_BYTES_MAX {
            break;
        }
        short.push(character);
    }
    name(&short).ok()
}

fn bounded(text: &str, chars_max: usize, bytes_max: usize) -> Result<String, Refused> {
    // Nobody makes us read what is far too long anyway.
    if text.len() > 4 * bytes_max {
        return Err(Refused::TooLong);
    }
    let clean = cleaned(text);
    if clean.chars().all(|c| c.is_whitespace() || is_joiner(c)) {
        return Err(Refused::Empty);
    }
    if clean.len() > bytes_max || clean.chars().count() > chars_max { Err(Refused::TooLong) } else { Ok(clean) }
}

fn cleaned(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut marks = 0;
    for character in text.chars() {
        let character = if character.is_whitespace() { ' ' } else { character };
        marks = if is_mark(character) { marks + 1 } else { 0 };
        let is_second_space = character == ' ' && (clean.is_empty() || clean.ends_with(' '));
        if !is_second_space && marks <= MARKS_MAX && !is_hidden(character) {
            clean.push(character);
        }
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// Control characters, overrides of the writing direction (UAX #9), and what takes no room: it hides words from people and filters, and
/// says something else than what is seen.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// Joins letters of some scripts, and the parts of one emoji.
const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}') || is_mark(c)
}

/// Marks that stand over or under the letter before.
const fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_or_what_turns_letters_around_is_taken_out() {
        for (said, shown) in [
            ("hello", "hello"),
            ("  hello \r\n\t world \u{a0}", "hello world"),
            ("a\0b\u{7}c\u{9b}d", "abcd"),
            ("pay \u{202e}live\u{202c} now", "pay live now"),
            ("\u{2066}a\u{2069}\u{200e}b\u{200f}c\u{61c}", "abc"),
            ("z\u{200b}e\u{feff}r\u{2060}o", "zero"),
            ("<b>bold</b> &amp;", "<b>bold</b> &amp;"),
            ("שלום العالم 世界", "שלום العالم 世界"),
            ("\u{1f469}\u{200d}\u{1f52c} \u{2764}\u{fe0f}", "\u{1f469}\u{200d}\u{1f52c} \u{2764}\u{fe0f}"),
            ("e\u{301}\u{301}\u{301}\u{301}\u{301}x", "e\u{301}\u{301}\u{301}x"),
            ("tag\u{e0041}\u{e0042}", "tag"),
        ] {
            assert_eq!(message(said).as_deref(), Ok(shown), "{said:?}");
        }
        for empty in ["", " ", "\u{200b}", "\u{200d}", "\u{301}", "\n\n", "\u{3164}", "\u{202e}"] {
            assert_eq!(message(empty), Err(Refused::Empty), "{empty:?}");
        }
    }

    #[test]
    fn length_counts_in_characters_and_in_bytes() {
        assert!(message(&"a".repeat(500)).is_ok() && message(&"\u{1f600}".repeat(500)).is_ok());
        assert_eq!(message(&"a".repeat(501)), Err(Refused::TooLong));
        assert_eq!(name(&"\u{1f600}".repeat(33)), Err(Refused::TooLong));
        assert_eq!(message(&"\u{200b}".repeat(100_000)), Err(Refused::TooLong), "not even read");
        assert!(name(&"ä".repeat(32)).is_ok());
    }
}
