//! Bodies of requests: JSON objects without unknown members, and merge patches (RFC 7396). Pure.

use node::problem::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::{Invalid, Problem};

/// Most errors that one answer names.
const ERRORS_MAX: usize = 20;
/// Deepest nesting of a body: settings have two levels.
const DEPTH_MAX: usize = 8;

/// Settings that a client may write. Its default has every member, and so says which there are.
pub(crate) trait Settings: Default + Serialize + DeserializeOwned {
    /// Members of the row that clients may send back and not change.
    const READ_ONLY: &'static [&'static str] = &[];

    /// Notes what is not possible.
    fn check(&self, errors: &mut Vec<Invalid>);
}

/// Reads a body of a request that makes something.
pub(crate) fn read<T: Settings>(body: &[u8]) -> Result<T, Problem> {
    let given = object(body)?;
    let known = members::<T>();
    ensure_known::<T>(&given, &known)?;
    // As in a patch, null is the default.
    settings(merged(known, &given, 0))
}

/// Applies a merge patch to settings.
pub(crate) fn patch<T: Settings>(current: &T, body: &[u8]) -> Result<T, Problem> {
    let given = object(body)?;
    let known = members::<T>();
    ensure_known::<T>(&given, &known)?;
    let current = serde_json::to_value(current).unwrap_or_default();
    // Null restores the default: removed here, and filled in by the merge with the defaults.
    settings(merged(known, &merged(current, &given, 0), 0))
}

/// The members of settings, with their defaults.
fn members<T: Settings>() -> Value {
    serde_json::to_value(T::default()).unwrap_or_default()
}

fn object(body: &[u8]) -> Result<Value, Problem> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let malformed = |error: serde_json::Error| Problem::new(Type::Malformed, format!("the body is no JSON: {error}"));
    let given: Value = serde_json::from_slice(body).map_err(malformed)?;
    if given.is_object() { Ok(given) } else { Err(Problem::invalid("#", "wrong_type", "the body has to be an object")) }
}

/// RFC 7396, section 2: members of `patch` replace those of `target`, and null removes them. Deeper than [`DEPTH_MAX`], values are
/// replaced as a whole.
fn merged(target: Value, patch: &Value, depth: usize) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut members = match target {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else if depth < DEPTH_MAX {
            let before = members.remove(name).unwrap_or_default();
            members.insert(name.clone(), merged(before, change, depth + 1));
        } else {
            members.insert(name.clone(), change.clone());
        }
    }
    Value::Object(members)
}

fn ensure_known<T: Settings>(given: &Value, known: &Value) -> Result<(), Problem> {
    let mut errors = Vec::new();
    find_unknown(given, known, ("#", T::READ_ONLY), &mut errors);
    refuse(errors)
}

fn find_unknown(given: &Value, known: &Value, (at, read_only): (&str, &[&str]), errors: &mut Vec<Invalid>) {
    let Value::Object(known) = known else { return };
    let Value::Object(given) = given else {
        // serde would read a list as an object without names.
        if !given.is_null() {
            errors.push(Invalid { pointer: at.to_owned(), code: "wrong_type" });
        }
        return;
    };
    for (name, value) in given {
        let pointer = format!("{at}/{}", escaped(name));
        match known.get(name) {
            Some(below) => find_unknown(value, below, (&pointer, &[]), errors),
            None if read_only.contains(&name.as_str()) => errors.push(Invalid { pointer, code: "read_only" }),
            None => errors.push(Invalid { pointer, code: "unknown" }),
        }
    }
}

/// A member's name in a JSON pointer in a URI fragment. Names of others are cut and reduced to what is harmless.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars().take(64) {
        match character {
            '~' => text.push_str("~0"),
            '/' => text.push_str("~1"),
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') => text.push(c),
            _ => text.push('?'),
        }
    }
    text
}

fn settings<T: Settings>(value: Value) -> Result<T, Problem> {
    let read: Result<T, _> = serde_path_to_error::deserialize(value);
    let settings = read.map_err(|error| {
        let path = error.path().to_string().replace(['.', '['], "/").replace(']', "");
        let pointer = if path == "/" { "#".to_owned() } else { format!("#/{path}") };
        let (name, why) = (error.path().to_string(), error.into_inner());
        Problem::invalid(&pointer, "wrong_type", format!("{name}: {why}"))
    })?;
    let mut errors = Vec::new();
    settings.check(&mut errors);
    refuse(errors)?;
    Ok(settings)
}

fn refuse(mut errors: Vec<Invalid>) -> Result<(), Problem> {
    if errors.is_empty() {
        return Ok(());
    }
    errors.truncate(ERRORS_MAX);
    let list: Vec<String> = errors.iter().map(|error| format!("{} ({})", error.pointer, error.code)).collect();
    let detail = format!("these members are not possible: {}", list.join(", "));
    Err(Problem { errors, ..Problem::new(Type::Invalid, detail) })
}

/// Notes a text that is too long, or has control characters.
pub(crate) fn check_text(pointer: &str, text: &str, (min, max): (usize, usize), errors: &mut Vec<Invalid>) {
    let mut note = |code| errors.push(Invalid { pointer: pointer.to_owned(), code });
    let length = text.chars().count();
    match () {
        () if length > max => note("too_long"),
        () if length < min => note(if length == 0 { "required" } else { "too_short" }),
        // A description may have lines.
        () if text.chars().any(|c| c.is_control() && c != '\n') => note("control_characters"),
        () => {}
    }
}

/// What differs between two settings, for the audit.
pub(crate) fn changes<T: Serialize>(before: &T, after: &T) -> Value {
    let (before, after) =
        (serde_json::to_value(before).unwrap_or_default(), serde_json::to_value(after).unwrap_or_default());
    let mut changes = Map::new();
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        for (name, to) in after {
            let from = before.get(&name).cloned().unwrap_or_default();
            if from != to {
                changes.insert(name, serde_json::json!({ "from": from, "to": to }));
            }
        }
    }
    Value::Object(changes)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    /// RFC 7396, appendix A.
    #[test]
    fn vectors_of_the_specification_hold() {
        for (target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            assert_eq!(merged(target.clone(), &patch, 0), result, "{target} {patch}");
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Room {
        title: String,
        seats: Seats,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Seats {
        most: Option<u32>,
    }

    impl Default for Room {
        fn default() -> Self {
            Self { title: "untitled".to_owned(), seats: Seats::default() }
        }
    }

    impl Settings for Room {
        const READ_ONLY: &'static [&'static str] = &["id"];

        fn check(&self, errors: &mut Vec<Invalid>) {
            check_text("#/title", &self.title, (1, 10), errors);
        }
    }

    fn refused(body: &str) -> Vec<(String, &'static str)> {
        let problem = read::<Room>(body.as_bytes()).unwrap_err();
        problem.errors.into_iter().map(|error| (error.pointer, error.code)).collect()
    }

    #[test]
    fn each_member_that_is_not_possible_is_named() {
        assert_eq!(
            refused(r#"{"id":1,"tite":"x","seats":{"least":1}}"#),
            [
                ("#/id".to_owned(), "read_only"),
                ("#/seats/least".to_owned(), "unknown"),
                ("#/tite".to_owned(), "unknown")
            ]
        );
        assert_eq!(refused(r#"{"seats":{"most":-1}}"#), [("#/seats/most".to_owned(), "wrong_type")]);
        assert_eq!(refused(r#"{"seats":[]}"#), [("#/seats".to_owned(), "wrong_type")]);
        assert_eq!(refused(r#"{"title":"0123456789a"}"#), [("#/title".to_owned(), "too_long")]);
        assert_eq!(refused(r#"{"title":"a\u0000"}"#), [("#/title".to_owned(), "control_characters")]);
        assert_eq!(refused(r#"{"a/b~c\n":1}"#), [("#/a~1b~0c?".to_owned(), "unknown")]);
        assert_eq!(refused("[]"), [("#".to_owned(), "wrong_type")]);
        assert_eq!(read::<Room>(b"{").unwrap_err().kind, Type::Malformed);
        assert_eq!(read::<Room>(&[b'['; 4_000]).unwrap_err().kind, Type::Malformed);
    }

    #[test]
    fn null_restores_the_default_and_what_is_absent_stays() {
        let current = Room { title: "hall".to_owned(), seats: Seats { most: Some(3) } };
        let patched = |body: &str| patch(&current, body.as_bytes()).unwrap();
        assert_eq!(patched("{}"), current);
        assert_eq!(patched(r#"{"title":null}"#).title, "untitled");
        assert_eq!(patched(r#"{"seats":{"most":null}}"#), Room { title: "hall".to_owned(), seats: Seats::default() });
        assert_eq!(patched(r#"{"seats":null}"#), patched(r#"{"seats":{"most":null}}"#));
        assert_eq!(changes(&current, &patched(r#"{"title":"room"}"#)), json!({"title":{"from":"hall","to":"room"}}));
    }
}
