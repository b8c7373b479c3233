//! Replays the fuzzing corpus: its seeds and findings, from which `make fuzz` continues. `support::targets` defines the files.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::path::PathBuf;

/// Largest sum of all files, in bytes.
const CORPUS_BYTES_MAX: usize = 200 * 1024;

/// The files of a target's corpus, in order of their names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// Runs a target on every file of its corpus; names the file on which it fails.
fn replay(target: &str, run: fn(&[u8])) {
    let files = corpus(target);
    for client in ["obs", "ffmpeg", "rtmp2sink", "rtmpsink"] {
        let is_of = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with(client);
        assert!(files.iter().any(|(file, _)| is_of(file)), "the corpus of {target} has none of {client}");
    }
    for (file, bytes) in files {
        eprintln!("{}", file.display());
        run(&bytes);
    }
}

#[test]
fn handshakes_of_the_corpus_hold_the_rules() {
    replay("handshake", support::targets::handshake);
}

#[test]
fn sessions_of_the_corpus_hold_the_rules() {
    replay("session", support::targets::session);
}

#[test]
fn values_of_the_corpus_hold_the_rules() {
    replay("amf", support::targets::amf);
}

#[test]
fn bodies_of_the_corpus_hold_the_rules() {
    replay("flv", support::targets::flv);
}

#[test]
fn corpus_is_small() {
    let sizes = ["handshake", "session", "amf", "flv"].into_iter().flat_map(corpus).map(|(_, bytes)| bytes.len());
    let bytes: usize = sizes.sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes: minimise it (cargo fuzz cmin)");
}
