//! The `Priority` field (RFC 9218, section 5): a dictionary of structured fields (RFC 8941), of which two members count.
//! Pure.

use axum::http::HeaderMap;

pub const NAME: &str = "priority";

/// Longest field that is read, in bytes, all its lines together; a longer one counts as absent. Ours has 5.
const FIELD_BYTES_MAX: usize = 256;
/// Digits of an integer, and of the two sides of a decimal (RFC 8941, 3.3.1 and 3.3.2).
const INTEGER_DIGITS_MAX: usize = 15;
const WHOLE_DIGITS_MAX: usize = 12;
const FRACTION_DIGITS_MAX: usize = 3;

/// How much a response matters: 0 is the most urgent, 7 the least (RFC 9218, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency(u8);

impl Urgency {
    /// Urgency of a request that does not name one.
    pub const DEFAULT: Self = Self(3);

    /// `None` beyond 7.
    pub const fn new(level: u8) -> Option<Self> {
        if level <= 7 { Some(Self(level)) } else { None }
    }
}

/// What one field says. Parameters that it leaves out, or that are of the wrong type or out of range, are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hint {
    /// `u`.
    pub urgency: Option<Urgency>,
    /// `i`: the client can use the response piece by piece.
    pub incremental: Option<bool>,
}

impl Hint {
    /// The hint in a block of headers. A field that is not a dictionary says nothing (RFC 8941, 4.2).
    pub fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(NAME).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::default(),
            (Some(line), None) => Self::parse(line.as_bytes()),
            _ => {
                let lines: Vec<&[u8]> = headers.get_all(NAME).iter().map(|line| line.as_bytes()).collect();
                Self::parse(&lines.join(&b", "[..]))
            }
        }
    }

    /// Reads the text of the field.
    pub fn parse(field: &[u8]) -> Self {
        if field.len() > FIELD_BYTES_MAX {
            return Self::default();
        }
        Reader { rest: field }.dictionary().unwrap_or_default()
    }
}

/// How a response is scheduled among the others of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// More urgent ones go first.
    pub urgency: Urgency,
    /// Takes turns with others of its urgency; one that is not incremental is sent in one go.
    pub incremental: bool,
}

impl Priority {
    /// What client and server said, merged: the response overrides what it names (RFC 9218, section 8).
    pub fn merged(request: Hint, response: Hint) -> Self {
        Self {
            urgency: response.urgency.or(request.urgency).unwrap_or(Urgency::DEFAULT),
            incremental: response.incremental.or(request.incremental).unwrap_or(false),
        }
    }
}

/// A bare item, as far as it matters here.
enum Item {
    Integer(i64),
    Boolean(bool),
    Other,
}

/// Reads a dictionary (RFC 8941, 4.2.2). `None` anywhere means that the whole field is void.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn dictionary(mut self) -> Option<Hint> {
        let mut hint = Hint::default();
        self.skip(|byte| byte == b' ');
        while !self.rest.is_empty() {
            let key = self.key()?;
            let value = if self.take(b'=') { self.value()? } else { Item::Boolean(true) };
            self.parameters()?;
            // The last of several members with one key counts.
            match (key, value) {
                (b"u", Item::Integer(level)) => hint.urgency = u8::try_from(level).ok().and_then(Urgency::new),
                (b"u", _) => hint.urgency = None,
                (b"i", Item::Boolean(incremental)) => hint.incremental = Some(incremental),
                (b"i", _) => hint.incremental = None,
                _ => {}
            }
            self.skip(is_whitespace);
            if self.rest.is_empty() {
                break;
            }
            if !self.take(b',') {
                return None;
            }
            self.skip(is_whitespace);
            if self.rest.is_empty() {
                return None;
            }
        }
        Some(hint)
    }

    fn value(&mut self) -> Option<Item> {
        if !self.take(b'(') {
            return self.item();
        }
        loop {
            self.skip(|byte| byte == b' ');
            if self.take(b')') {
                return Some(Item::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(|byte| byte == b' ');
            self.key()?;
            if self.take(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item(&mut self) -> Option<Item> {
        match *self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.run(|byte| is_token(byte) || matches!(byte, b':' | b'/'));
                Some(Item::Other)
            }
            b':' => {
                self.take(b':');
                self.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
                self.take(b':').then_some(Item::Other)
            }
            b'?' => {
                self.take(b'?');
                if self.take(b'1') {
                    Some(Item::Boolean(true))
                } else {
                    self.take(b'0').then_some(Item::Boolean(false))
                }
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Item> {
        let negative = self.take(b'-');
        let whole = self.run(|byte| byte.is_ascii_digit());
        if self.take(b'.') {
            let fraction = self.run(|byte| byte.is_ascii_digit()).len();
            let fits = (1..=WHOLE_DIGITS_MAX).contains(&whole.len()) && (1..=FRACTION_DIGITS_MAX).contains(&fraction);
            return fits.then_some(Item::Other);
        }
        if !(1..=INTEGER_DIGITS_MAX).contains(&whole.len()) {
            return None;
        }
        let value: i64 = std::str::from_utf8(whole).ok()?.parse().ok()?;
        Some(Item::Integer(if negative { -value } else { value }))
    }

    fn string(&mut self) -> Option<Item> {
        self.take(b'"');
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(Item::Other),
                b'\\' if self.take(b'"') || self.take(b'\\') => {}
                b'\\' => return None,
                b' '..=b'~' => {}
                _ => return None,
            }
        }
    }

    /// RFC 8941, 4.2.3.3.
    fn key(&mut self) -> Option<&'a [u8]> {
        matches!(self.rest.first(), Some(b'a'..=b'z' | b'*'))
            .then(|| self.run(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
    }

    fn take(&mut self, wanted: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == wanted => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().take_while(|byte| belongs(**byte)).count();
        let (run, rest) = self.rest.split_at(length);
        self.rest = rest;
        run
    }

    fn skip(&mut self, belongs: impl Fn(u8) -> bool) {
        self.run(belongs);
    }
}

const fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `tchar` (RFC 9110, 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hint(urgency: impl Into<Option<u8>>, incremental: impl Into<Option<bool>>) -> Hint {
        Hint { urgency: urgency.into().map(|level| Urgency::new(level).unwrap()), incremental: incremental.into() }
    }

    #[test]
    fn field_is_read_as_a_dictionary() {
        for (field, expected) in [
            ("", hint(None, None)),
            ("u=0", hint(0, None)),
            ("u=7, i", hint(7, true)),
            ("i,u=1", hint(1, true)),
            ("  u=2 \t,\t i=?0  ", hint(2, false)),
            ("u=1;x=3, i;y", hint(1, true)),
            ("u=1, u=5", hint(5, None)),
            ("u=5, u=high", hint(None, None)),
            ("u=3, new-one=(a b \"c\");q=0.5, also", hint(3, None)),
        ] {
            assert_eq!(Hint::parse(field.as_bytes()), expected, "{field:?}");
        }
    }

    #[test]
    fn parameter_of_the_wrong_type_or_range_is_left_out_alone() {
        for (field, expected) in [
            ("u=8, i", hint(None, true)),
            ("u=-1, i", hint(None, true)),
            ("u=1.5, i", hint(None, true)),
            ("u, i=1", hint(None, None)),
            ("u=\"1\", i=yes", hint(None, None)),
            ("u=999999999999999, i", hint(None, true)),
        ] {
            assert_eq!(Hint::parse(field.as_bytes()), expected, "{field:?}");
        }
    }

    #[test]
    fn field_that_is_no_dictionary_says_nothing() {
        let long = format!("u=1, x={}", "y".repeat(FIELD_BYTES_MAX));
        for field in ["u=", "u=1,", "u=1 i", "U=1", "=1", "u=1, i=?2", "u=1, x=\"", "u=1, x=(a", "u=1\u{e9}", &long] {
            assert_eq!(Hint::parse(field.as_bytes()), Hint::default(), "{field:?}");
        }
    }

    #[test]
    fn lines_of_the_field_are_one_dictionary() {
        let mut headers = HeaderMap::new();
        assert_eq!(Hint::of(&headers), Hint::default());
        headers.append(NAME, "u=1".parse().unwrap());
        headers.append(NAME, "i".parse().unwrap());
        assert_eq!(Hint::of(&headers), hint(1, true));
        headers.append(NAME, "=".parse().unwrap());
        assert_eq!(Hint::of(&headers), Hint::default());
    }

    #[test]
    fn response_overrides_what_it_names_and_keeps_the_rest() {
        let merged = |request, response| {
            let Priority { urgency, incremental } = Priority::merged(request, response);
            (urgency.0, incremental)
        };
        assert_eq!(merged(hint(None, None), hint(None, None)), (3, false));
        assert_eq!(merged(hint(5, true), hint(None, None)), (5, true));
        assert_eq!(merged(hint(5, true), hint(1, None)), (1, true));
        assert_eq!(merged(hint(5, true), hint(None, false)), (5, false));
    }

    /// What another implementation reads.
    fn oracle(field: &str) -> Hint {
        let Ok(dictionary) = sfv::Parser::parse_dictionary(field.as_bytes()) else { return Hint::default() };
        let item = |key| match dictionary.get(key) {
            Some(sfv::ListEntry::Item(item)) => Some(&item.bare_item),
            _ => None,
        };
        let urgency = item("u").and_then(sfv::BareItem::as_int).and_then(|level| u8::try_from(level).ok());
        Hint { urgency: urgency.and_then(Urgency::new), incremental: item("i").and_then(sfv::BareItem::as_bool) }
    }

    proptest! {
        #[test]
        fn fields_are_read_as_another_implementation_reads_them(
            field in r#"( ?(u|i|x\*|\*a)(=(-?[0-9]{1,3}(\.[0-9]{0,4})?|\?[0-2]|"[a\\"]{0,3}"|[a*][!/:]?|\([ab ]{0,4}\)|))?(; ?p(=1)?)?[ \t]?(,|, |)){0,4}"#
        ) {
            prop_assert_eq!(Hint::parse(field.as_bytes()), oracle(&field), "{:?}", field);
        }

        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(field in proptest::collection::vec(any::<u8>(), 0..64)) {
            Hint::parse(&field);
        }
    }
}
