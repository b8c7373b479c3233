//! Configuration files: typed and strict, with errors of one line that name the place.

use std::path::Path;

use serde::de::DeserializeOwned;

/// Most single-letter edits between an unknown key and the one it was meant to be.
const SUGGESTION_EDITS_MAX: usize = 3;

/// Endings of keys that were written otherwise once: a time in seconds ends in `_s`, as one in milliseconds ends in `_ms`.
const RENAMED: [(&str, &str); 1] = [("_seconds", "_s")];

/// Placeholder for the machine's name, see [`with_host_name`].
pub const HOST_NAME: &str = "{hostname}";

/// Reads a TOML text that came from `path`.
///
/// # Errors
/// One line: file, line, the key with its tables, and what is wrong with it. For an unknown key also the one that was probably
/// meant: ``sealcast.toml:12: unknown key `ingest.rtmp_lisen` (did you mean `rtmp_listen`?)``.
pub fn read<T: DeserializeOwned>(text: &str, path: &Path) -> anyhow::Result<T> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map(|span| span.start.min(text.len()));
        let line = offset.map(|offset| text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1);
        let what = explain(error.message(), &keys(&error));
        match line {
            Some(line) => anyhow::anyhow!("{}:{line}: {what}", path.display()),
            None => anyhow::anyhow!("{}: {what}", path.display()),
        }
    })
}

/// Replaces `{hostname}` in a URL with the name of this machine or container, so that nodes that share a configuration differ in it.
///
/// # Errors
/// When the machine has no name.
pub fn with_host_name(text: &str) -> anyhow::Result<String> {
    if !text.contains(HOST_NAME) {
        return Ok(text.to_owned());
    }
    let host = sysinfo::System::host_name().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| anyhow::anyhow!("{text}: this machine has no host name"))?;
    Ok(text.replace(HOST_NAME, &host))
}

/// The path of keys to the error, as in `role.ingest.owners`; empty at the top level, and where the text is no TOML. The parser names the
/// keys only when it has no text to show.
fn keys(error: &toml::de::Error) -> String {
    let mut bare = error.clone();
    bare.set_input(None);
    let said = bare.to_string();
    let keys = said.strip_prefix(error.message()).and_then(|rest| rest.trim().strip_prefix("in `")?.strip_suffix('`'));
    keys.unwrap_or_default().to_owned()
}

/// Turns the parser's message into one line in our words; `keys` is the path to what the message is about.
fn explain(message: &str, keys: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return if keys.is_empty() { message } else { format!("{keys}: {message}") };
    };
    let mut quoted = rest.split('`').step_by(2);
    let Some(key) = quoted.next() else { return message };
    let known: Vec<&str> = quoted.filter(|name| !name.is_empty()).collect();
    let full = if keys.is_empty() { key.to_owned() } else { format!("{keys}.{key}") };
    let renamed = RENAMED.iter().find_map(|(old, new)| Some(format!("{}{new}", key.strip_suffix(old)?)));
    if let Some(name) = renamed.filter(|name| known.contains(&name.as_str())) {
        return format!("unknown key `{full}` (its name is `{name}` now)");
    }
    let nearest = known.iter().map(|name| (edits(key, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= SUGGESTION_EDITS_MAX.min(key.len() / 2) => {
            format!("unknown key `{full}` (did you mean `{name}`?)")
        }
        Some(_) => format!("unknown key `{full}` (known here: {})", known.join(", ")),
        None => format!("unknown key `{full}`"),
    }
}

/// Levenshtein distance in bytes.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right.bytes()) {
            let above = *cell;
            let next = if a == b { diagonal } else { 1 + diagonal.min(above).min(before) };
            diagonal = above;
            before = next;
            *cell = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        data: String,
        ingest: Inner,
        streams: Vec<Inner>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        rtmp_listen: String,
        threads: u16,
        reconnect_grace_s: u64,
    }

    fn error(text: &str) -> String {
        let error = read::<Outer>(text, Path::new("etc/sealcast.toml")).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn unknown_key_is_named_with_file_line_table_and_what_was_meant() {
        let text = "data = \"x\"\n\n[ingest]\n# comment\nrtmp_lisen = \"a\"\n";
        let expected = "etc/sealcast.toml:5: unknown key `ingest.rtmp_lisen` (did you mean `rtmp_listen`?)";
        assert_eq!(error(text), expected);
        let text = "[[streams]]\nthreads = 1\n[[streams]]\nthread = 2\n";
        assert_eq!(error(text), "etc/sealcast.toml:4: unknown key `streams.thread` (did you mean `threads`?)");
        let known = "(known here: data, ingest, streams)";
        assert_eq!(error("colour = 1"), format!("etc/sealcast.toml:1: unknown key `colour` {known}"));
        assert_eq!(error("x = 1"), format!("etc/sealcast.toml:1: unknown key `x` {known}"));
        let inline = error("ingest = { thread = 1 }");
        assert_eq!(inline, "etc/sealcast.toml:1: unknown key `ingest.thread` (did you mean `threads`?)");
    }

    #[test]
    fn old_name_of_a_key_leads_to_the_new_one() {
        let old = error("[ingest]\nreconnect_grace_seconds = 30\n");
        let expected = "unknown key `ingest.reconnect_grace_seconds` (its name is `reconnect_grace_s` now)";
        assert_eq!(old, format!("etc/sealcast.toml:2: {expected}"));
        assert!(error("[ingest]\nidle_seconds = 30\n").contains("(known here: "));
    }

    #[test]
    fn wrong_type_names_file_line_and_key_wherever_it_stands() {
        let many = "invalid type: string \"many\", expected u16";
        for (text, line, key) in [
            ("[ingest]\nthreads = \"many\"\n", 2, "ingest.threads"),
            ("\ningest.threads = \"many\"\n", 2, "ingest.threads"),
            ("ingest = { threads = \"many\" }\n", 1, "ingest.threads"),
            ("streams = [\n  {},\n  { threads = \"many\" },\n]\n", 3, "streams.threads"),
            ("[[streams]]\n[[streams]]\nthreads = \"many\"\n", 3, "streams.threads"),
        ] {
            assert_eq!(error(text), format!("etc/sealcast.toml:{line}: {key}: {many}"), "{text}");
        }
        assert_eq!(error("data = 1"), "etc/sealcast.toml:1: data: invalid type: integer `1`, expected a string");
        assert!(error("[ingest]\nthreads = 70000").starts_with("etc/sealcast.toml:2: ingest.threads: invalid value: "));
    }

    #[test]
    fn wrong_syntax_names_file_and_line() {
        assert!(error("data = \"x\"\nthis is no toml\n").starts_with("etc/sealcast.toml:2: "));
        assert!(error("data = 1\ndata = 2\n").starts_with("etc/sealcast.toml:"));
    }

    #[test]
    fn good_text_reads() {
        let outer: Outer = read("data = \"d\"\n[ingest]\nthreads = 3\n", Path::new("x")).unwrap();
        assert_eq!((outer.data.as_str(), outer.ingest.threads, outer.streams.len()), ("d", 3, 0));
        assert!(outer.ingest.rtmp_listen.is_empty());
    }

    #[test]
    fn distance_counts_single_letter_edits() {
        for (left, right, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("a", "a", 0), ("listen", "lisen", 1)]
        {
            assert_eq!(edits(left, right), expected, "{left} {right}");
        }
    }
}
