//! Players that people have, each through a reconnect of the encoder, a rendition switch and the death of its node.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

mod support;

use support::players::Kind;
use support::players::scenario::{Script, play};

/// Short segments, so that players begin near the end and buffer little: each event has been on every screen after so many seconds.
const SCRIPT: Script = Script { seconds: 8.0, segment_seconds: 2 };

#[tokio::test(flavor = "multi_thread")]
async fn every_player_plays_on_through_reconnect_switch_and_death_of_its_node() {
    let verdicts = play(&Kind::ALL, SCRIPT).await;
    for verdict in &verdicts {
        eprintln!("{verdict}");
        if verdict.broke.is_some() {
            eprintln!("{}", verdict.progress.complaints.join("\n"));
        }
    }
    for verdict in verdicts {
        let (name, said) = (verdict.kind.name(), verdict.progress.complaints.join("\n"));
        assert_eq!(verdict.broke, None, "{name} after {:?}\n{said}", verdict.passed);
        assert_eq!(verdict.progress.errors, [""; 0], "{name}\n{said}");
        // Nothing is missing but what was hinted when its encoder went away (RFC 8216bis, 6.2.6): hls.js does not mind, Shaka reports it,
        // goes to another rendition and on.
        let missing =
            verdict.progress.complaints.iter().filter(|said| said.contains(",404]") || said.contains(" 404 "));
        assert!(missing.clone().all(|said| said.contains("/1/")), "{name}\n{said}");
    }
}
