//! Replays the fuzzing corpus: its seeds and findings, from which `make fuzz` continues. A file is a script for `support::script`, or a
//! query for `reload::Directives`.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::path::PathBuf;

/// Runs a target on every file of its corpus; names the file on which it fails.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {target} is there");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        eprintln!("{}", file.display());
        run(&bytes);
    }
}

#[test]
fn logs_of_the_corpus_hold_the_rules() {
    replay("log", support::targets::log);
}

#[test]
fn directives_of_the_corpus_hold_the_rules() {
    replay("directives", support::targets::directives);
}
