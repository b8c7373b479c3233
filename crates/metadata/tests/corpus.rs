//! Replays the fuzzing corpus: its seeds and findings, from which `make fuzz` continues. `support` defines the files.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/fold")
}

#[test]
fn corpus_has_the_seeds_of_this_version() {
    for (name, bytes) in support::seeds() {
        let file = folder().join(format!("seed-{name}"));
        if std::env::var_os("SEALCAST_UPDATE_CORPUS").is_some() {
            std::fs::write(&file, &bytes).unwrap();
        }
        let there = std::fs::read(&file).unwrap_or_default();
        assert!(there == bytes, "{}: write it with SEALCAST_UPDATE_CORPUS=1", file.display());
    }
}

#[test]
fn histories_of_the_corpus_hold_the_rules() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        eprintln!("{}", file.display());
        support::fold(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn seeds_are_taken() {
    for (name, bytes) in support::seeds() {
        let rows = match name {
            "start" | "catalogue" | "revoked" => 2,
            "root" => 0,
            "owners" => 1,
            "tokens" => 5,
            "sessions" => 3,
            "of-tenants" => 3,
            _ => 1,
        };
        assert_eq!(support::fold(&bytes), rows, "{name}");
    }
}
