//! Attribute lists (RFC 8216bis 4.2), read strictly.
//!
//! Pure. Keeps order and duplicates, because rules apply to both.

use std::time::Duration;

use super::decimal;

/// Most attributes that are read of one tag.
const ATTRIBUTES_MAX: usize = 64;

/// A value as written: quoted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The text between double quotes.
    Quoted(String),
    /// A value without quotes.
    Plain(String),
}

impl Value {
    /// The characters, without quotes.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Quoted(text) | Self::Plain(text) => text,
        }
    }
}

/// The attributes of a tag, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(String, Value)>);

impl Attributes {
    /// Reads a list. Returns the attributes that could be read, and its faults.
    #[must_use]
    pub fn read(list: &str) -> (Self, Vec<String>) {
        let (mut found, mut faults) = (Vec::<(String, Value)>::new(), Vec::new());
        let mut rest = list;
        while !rest.is_empty() && found.len() < ATTRIBUTES_MAX {
            let Some((name, after)) = rest.split_once('=') else {
                faults.push(format!("{rest:?} is not NAME=VALUE"));
                break;
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-') {
                faults.push(format!("{name:?} is not an attribute name"));
            }
            if found.iter().any(|(earlier, _)| earlier == name) {
                faults.push(format!("{name} is given twice"));
            }
            let (value, next) = value(name, after, &mut faults);
            found.push((name.to_owned(), value));
            rest = next;
        }
        if list.ends_with(',') {
            faults.push("ends with a comma".to_owned());
        }
        (Self(found), faults)
    }

    /// Value of the first attribute with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The text of a value, quoted or not.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(Value::text)
    }

    /// A quoted string; none when it is not quoted.
    #[must_use]
    pub fn quoted(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Quoted(text)) => Some(text),
            _ => None,
        }
    }

    /// A decimal integer without quotes.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Plain(text)) => decimal::integer(text),
            _ => None,
        }
    }

    /// A decimal integer without quotes that counts segments or parts.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.integer(name).filter(|number| *number <= decimal::COUNTER_MAX)
    }

    /// A decimal number of seconds without quotes.
    #[must_use]
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        match self.get(name) {
            Some(Value::Plain(text)) => decimal::seconds(text),
            _ => None,
        }
    }

    /// Whether it is the enumerated string YES.
    #[must_use]
    pub fn yes(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Plain(text)) if text == "YES")
    }

    /// All attributes in the order of the tag, with those that are given twice.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether both have the same names and values, in any order.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

/// Reads one value. Returns it, and the text after the following comma.
fn value<'a>(name: &str, text: &'a str, faults: &mut Vec<String>) -> (Value, &'a str) {
    if let Some(inside) = text.strip_prefix('"') {
        let Some((quoted, after)) = inside.split_once('"') else {
            faults.push(format!("{name}: the quote is not closed"));
            return (Value::Quoted(inside.to_owned()), "");
        };
        let rest = after.strip_prefix(',').unwrap_or_else(|| {
            if !after.is_empty() {
                faults.push(format!("{name}: {after:?} after the closing quote"));
            }
            ""
        });
        return (Value::Quoted(quoted.to_owned()), rest);
    }
    let (plain, rest) = text.split_once(',').unwrap_or((text, ""));
    if plain.is_empty() || plain.contains(|c: char| c.is_whitespace() || c == '"') {
        faults.push(format!("{name}={plain:?} is not a value"));
    }
    (Value::Plain(plain.to_owned()), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(list: &str) -> Vec<String> {
        Attributes::read(list).1
    }

    #[test]
    fn quoted_values_may_hold_commas_and_equal_signs() {
        let (attributes, faults) = Attributes::read(r#"CODECS="avc1.64001f,mp4a.40.2",BANDWIDTH=1000,URI="a?b=c""#);
        assert!(faults.is_empty());
        assert_eq!(attributes.quoted("CODECS"), Some("avc1.64001f,mp4a.40.2"));
        assert_eq!(attributes.integer("BANDWIDTH"), Some(1000));
        assert_eq!(attributes.quoted("URI"), Some("a?b=c"));
        assert_eq!(attributes.iter().count(), 3);
    }

    #[test]
    fn what_the_draft_forbids_is_a_fault() {
        assert_eq!(faults("A=1,A=2"), ["A is given twice"]);
        assert_eq!(faults("a=1"), ["\"a\" is not an attribute name"]);
        assert_eq!(faults("A=1, B=2"), ["\" B\" is not an attribute name"]);
        assert_eq!(faults("A"), ["\"A\" is not NAME=VALUE"]);
        assert_eq!(faults("A=\"x"), ["A: the quote is not closed"]);
        assert_eq!(faults("A=\"x\"y"), ["A: \"y\" after the closing quote"]);
        assert_eq!(faults("A=1,"), ["ends with a comma"]);
        assert_eq!(faults("A= 1"), ["A=\" 1\" is not a value"]);
    }

    #[test]
    fn order_does_not_matter_for_sameness() {
        let read = |list| Attributes::read(list).0;
        assert!(read("A=1,B=\"2\"").same(&read("B=\"2\",A=1")));
        assert!(!read("A=1,B=\"2\"").same(&read("A=1,B=2")));
        assert!(!read("A=1").same(&read("A=1,B=2")));
    }
}
