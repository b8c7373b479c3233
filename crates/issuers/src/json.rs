//! JSON as tokens may have it: objects without repeated members. RFC 7519, section 4, lets a reader take the last of two; two readers that
//! take different ones disagree about what was signed. Pure.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value in which no object has a member twice, at any depth. Depth is bounded by `serde_json` (128).
pub(crate) struct Strict(pub(crate) Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("a member stands twice in an object"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// Reads an object.
pub(crate) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice::<Strict>(bytes).ok()?.0 {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// A claim by its name, or by dots that lead into objects. The whole name counts first: names may be URLs, which have dots.
pub(crate) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let (first, rest) = name.split_at(dot);
        member(object.get(first)?.as_object()?, rest.get(1..)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_member_makes_the_whole_unreadable_at_any_depth() {
        assert!(object(br#"{"a": 1, "b": {"a": [1.5, "x", null, true]}}"#).is_some());
        for wrong in [&br#"{"a": 1, "a": 1}"#[..], br#"{"b": [{"a": 1, "a": 2}]}"#, b"[]", b"{", br#"{"a": 1} x"#] {
            assert!(object(wrong).is_none(), "{}", String::from_utf8_lossy(wrong));
        }
        let deep = format!("{}{}", r#"{"a":"#.repeat(1_000), "}".repeat(1_000));
        assert!(object(deep.as_bytes()).is_none());
    }

    #[test]
    fn dots_lead_into_objects_and_whole_names_count_first() {
        let claims =
            object(br#"{"a": {"b": {"c": 1}, "b.c": 2}, "https://x.example/streams": 3, "a.b": {"d": 4}}"#).unwrap();
        assert_eq!(member(&claims, "a.b.c"), Some(&Value::from(2)), "the longest name behind the first dot");
        assert_eq!(member(&claims, "https://x.example/streams"), Some(&Value::from(3)));
        assert_eq!(member(&claims, "a.b.d"), Some(&Value::from(4)), "another dot, if the first leads nowhere");
        for nowhere in ["", ".", "a.", "a.x", "z.b"] {
            assert_eq!(member(&claims, nowhere), None, "{nowhere}");
        }
    }
}
