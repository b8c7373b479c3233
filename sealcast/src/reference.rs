//! Generates pages of `docs/reference` from the configuration's types and the command line's grammar, so that they list every key and flag.

use std::fmt::Write as _;
use std::path::Path;

use clap::CommandFactory as _;
use serde_json::{Map, Value};

use crate::cli::Cli;
use crate::settings::File;

/// Environment variable: if it is set, the test writes the files instead of comparing them.
const UPDATE: &str = "SEALCAST_UPDATE_REFERENCE";

const CONFIGURATION: &str = "# Configuration

Settings come from `sealcast.toml`, from environment variables and from flags. A flag wins over its variable, and a variable over the file.
[The command line](command-line.md) names flags and variables. [sealcast.example.toml](../../sealcast.example.toml) has the keys that
people change most.

`sealcast` reads the file that `--config` names, else `sealcast.toml` in the working directory if there is one. An unknown key is an error.
Port 0 stands for any free port.

This page is generated from the code by `make reference`.
";

const COMMAND_LINE: &str = "# Command line

`sealcast completion bash > /etc/bash_completion.d/sealcast` has the shell complete commands and flags (also `zsh`, `fish` and others).

This page is generated from the code by `make reference`.
";

/// A table of the configuration file: its heading, its description and a row for each key.
struct Table {
    heading: String,
    text: String,
    rows: String,
}

fn configuration() -> String {
    let schema = schemars::schema_for!(File).to_value();
    let mut tables = Vec::new();
    collect("", "Top level", (String::new(), &schema), &schema, &mut tables);
    let mut page = CONFIGURATION.to_owned();
    for Table { heading, text, rows } in tables {
        let text = if text.is_empty() { text } else { format!("\n{text}\n") };
        if rows.is_empty() {
            continue;
        }
        write!(page, "\n## {heading}\n{text}\n| key | value | meaning |\n|---|---|---|\n{rows}")
            .expect("a string grows");
    }
    page
}

/// Follows a `$ref` of a schema.
fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let named = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    named.and_then(|path| root.pointer(path)).unwrap_or(schema)
}

/// The schema without its alternative `null`, as for an `Option`.
fn inner<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let schema = resolved(schema, root);
    alternatives(schema).and_then(|all| all.first().copied()).map_or(schema, |one| resolved(one, root))
}

/// Adds a table and the tables below it; `text` is its description.
fn collect(path: &str, heading: &str, (text, schema): (String, &Value), root: &Value, tables: &mut Vec<Table>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let place = tables.len();
    tables.push(Table { heading: heading.to_owned(), text, rows: String::new() });
    let mut rows = String::new();
    for (key, property) in properties {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let target = inner(property, root);
        let item = target.get("items").map(|items| inner(items, root));
        if has_keys(target) {
            collect(&path, &format!("`[{path}]`"), (prose(property), target), root, tables);
        } else if let Some(item) = item.filter(|item| has_keys(item)) {
            collect(&path, &format!("`[[{path}]]`"), (prose(property), item), root, tables);
        } else {
            let meaning = [prose(property), words(target)].join(" ");
            writeln!(rows, "| `{key}` | {} | {} |", kind(property, root), meaning.trim_end()).expect("a string grows");
        }
    }
    if let Some(table) = tables.get_mut(place) {
        table.rows = rows;
    }
}

fn has_keys(schema: &Value) -> bool {
    schema.get("properties").and_then(Value::as_object).is_some_and(|keys: &Map<String, Value>| !keys.is_empty())
}

/// A schema's description on one line, with rustdoc links as plain code.
fn prose(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

/// Alternatives of a schema other than `null`.
fn alternatives(schema: &Value) -> Option<Vec<&Value>> {
    let is_null = |one: &&Value| one.get("type").and_then(Value::as_str) == Some("null");
    let all = schema.get("anyOf").or_else(|| schema.get("allOf")).and_then(Value::as_array)?;
    Some(all.iter().filter(|one| !is_null(one)).collect())
}

/// The values of an enum, each with its meaning.
fn words(schema: &Value) -> String {
    let words = schema.get("oneOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let meanings = words.iter().filter_map(|word| {
        let name = word.get("const")?.as_str()?;
        word.get("description").map(|_| format!("`\"{name}\"`: {}", prose(word)))
    });
    meanings.collect::<Vec<_>>().join(" ")
}

/// The kind of value of a key, in words.
fn kind(schema: &Value, root: &Value) -> String {
    let schema = resolved(schema, root);
    if let Some(all) = alternatives(schema) {
        return all.into_iter().map(|one| kind(one, root)).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return list(words.iter());
    }
    if let Some(words) = schema.get("oneOf").and_then(Value::as_array) {
        let named = words.iter().flat_map(|one| match one.get("enum").and_then(Value::as_array) {
            Some(several) => several.iter().collect(),
            None => one.get("const").into_iter().collect::<Vec<_>>(),
        });
        return list(named);
    }
    let name = match schema.get("type") {
        Some(Value::String(name)) => name.as_str(),
        // An `Option`: its type other than null.
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or(""),
        _ => "",
    };
    match name {
        "integer" | "number" => "number".to_owned(),
        "array" => match schema.get("items").map(|items| kind(inner(items, root), root)) {
            None => "list".to_owned(),
            Some(words) if words.starts_with('`') => format!("list of {words}"),
            Some(kind) => format!("list of {kind}s"),
        },
        other => other.to_owned(),
    }
}

fn list<'a>(words: impl Iterator<Item = &'a Value>) -> String {
    words.filter_map(Value::as_str).map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
}

fn command_line() -> String {
    let mut page = COMMAND_LINE.to_owned();
    // The page must not depend on the width of the terminal or on the environment.
    let mut grammar = Cli::command().term_width(0);
    grammar.build();
    describe(&mut grammar, &mut page);
    page
}

fn describe(command: &mut clap::Command, page: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let help = command.clone().mut_args(|argument| argument.hide_env_values(true)).render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()).expect("a string grows");
    for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
        describe(below, page);
    }
}

#[test]
fn reference_is_what_the_code_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    for (name, text) in [("configuration.md", configuration()), ("command-line.md", command_line())] {
        let path = directory.join(name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &text).expect("the reference can be written");
        }
        let written = std::fs::read_to_string(&path).expect("the reference is there");
        assert!(written == text, "docs/reference/{name} is not what the code says: run `make reference`");
    }
}
