//! A streamer seals at its own machine: the folder that `streamer add` makes is all that its ingest needs.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use testkit::hls::playlist;
use testkit::process::Process;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{self, Up, read_ready, text};
use testkit::wait::{eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");
/// A revoked node is cut off within this time.
const CUT_WAIT_MAX: Duration = Duration::from_secs(5);

fn run(directory: &Path, arguments: &[&str]) -> Output {
    sealcast::command(SEALCAST).args(arguments).current_dir(directory).output().unwrap()
}

fn ok(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn configured() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = "[[role.ingest.pipeline.rungs]]\nshort_side = 240\n\n[[streams]]\nname = \"hall\"\nkey = \"key-of-the-hall\"\n\n\
                [[streams]]\nname = \"choir\"\nkey = \"key-of-the-choir\"\n";
    std::fs::write(directory.path().join("sealcast.toml"), text).unwrap();
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn streamer_seals_its_stream_at_its_own_machine_and_is_cut_off_when_it_is_removed() {
    let _turn = turn().await;
    let up = Up::start_in(SEALCAST, configured(), &["--no-source"]).await;
    let here = up.directory.path();
    let refused = run(here, &["streamer", "add", "anna", "--stream", "nobodys", "--out", "anna"]);
    assert!(!refused.status.success() && !here.join("anna").exists(), "what is refused leaves no identity");
    let said = ok(here, &["streamer", "add", "anna", "--stream", "choir", "--out", "anna"]);
    assert!(said.contains("streamer anna seals choir from now on"), "{said}");
    assert!(ok(here, &["streamer", "list"]).contains("anna"));

    // Her machine has nothing but the folder.
    let machine = here.join("anna");
    let ready_file = machine.join("ready.json");
    let made = std::fs::read_to_string(machine.join("sealcast.toml")).unwrap();
    std::fs::write(machine.join("sealcast.toml"), format!("rtmp_listen = \"127.0.0.1:0\"\n{made}")).unwrap();
    let mut command = sealcast::command(SEALCAST);
    command.args(["ingest", "--ops-listen", "127.0.0.1:0", "--ready-file", "ready.json"]);
    let mut ingest = Process::spawn("the streamer's ingest", command.current_dir(&machine));
    let ready = read_ready(&ready_file, &mut ingest).await;
    let rtmp = text(&ready, "rtmp");
    let file = clip(here, Clip::default());
    // The shared ingest does not take the stream any more, nor hers another.
    let mut refused = publish(&file, &up.rtmp(), "key-of-the-choir");
    assert!(!refused.ended(Duration::from_secs(20)).await.expect("refused").success());
    let mut refused = publish(&file, &rtmp, "key-of-the-hall");
    assert!(!refused.ended(Duration::from_secs(20)).await.expect("refused").success());
    let publisher = publish(&file, &rtmp, "key-of-the-choir");
    playlist(&up.http, &up.https(), "choir", "audio", 2).await;

    let (ca, url) = (up.ca().display().to_string(), format!("{}/live/choir", up.https()));
    let verify = ["seal", "verify", &url, "--ca", &ca, "--root", "data/control/root.pub", "--media"];
    let verified = ok(here, &verify);
    assert!(verified.contains("of anna, for streams choir alone"), "{verified}");

    // Removed, she is at the broker no more, and her seals count nowhere.
    ok(here, &["streamer", "remove", "anna"]);
    eventually_async("her connection is cut", CUT_WAIT_MAX, async || {
        let metrics = testkit::http::get(&up.http, &format!("{}/metrics", text(&up.ready, "ops"))).await?;
        metrics
            .lines()
            .any(|line| line.starts_with("broker_connections_cut_total") && !line.ends_with(" 0"))
            .then_some(())
    })
    .await;
    drop(publisher);
    // Like OBS, the encoder tries again until the shared ingest has the keys of the stream.
    let mut publisher = publish(&file, &up.rtmp(), "key-of-the-choir");
    eventually_async("the shared ingest has the stream", Duration::from_secs(60), async || {
        if publisher.has_ended().is_some() {
            publisher = publish(&file, &up.rtmp(), "key-of-the-choir");
        }
        let shown: serde_json::Value = serde_json::from_str(&ok(here, &["stream", "show", "choir", "--json"])).ok()?;
        (shown["session"]["ingest"] == "ingest").then_some(())
    })
    .await;
    ingest.kill();
}

/// Publishes until the ingest takes it: like OBS, the encoder tries again until the ingest has what it needs.
async fn publish_surely(
    here: &Path,
    file: &Path,
    rtmp: &str,
    key: &str,
    is_there: impl Fn(&serde_json::Value) -> bool,
) -> Process {
    let mut publisher = publish(file, rtmp, key);
    eventually_async("the ingest has the stream", Duration::from_secs(60), async || {
        if publisher.has_ended().is_some() {
            publisher = publish(file, rtmp, key);
        }
        let shown = shown(here)?;
        is_there(&shown).then_some(())
    })
    .await;
    publisher
}

fn shown(here: &Path) -> Option<serde_json::Value> {
    serde_json::from_str(&ok(here, &["stream", "show", "choir", "--json"])).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_ingest_seals_one_session_that_a_streamer_has_delegated_and_no_second() {
    let _turn = turn().await;
    let directory = configured();
    let path = directory.path().join("sealcast.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("[role.ingest]\nreconnect_grace_s = 1\n\n{text}")).unwrap();
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let here = up.directory.path();
    ok(here, &["streamer", "add", "anna", "--stream", "choir", "--out", "anna"]);
    let file = clip(here, Clip::default());
    let mut refused = publish(&file, &up.rtmp(), "key-of-the-choir");
    assert!(!refused.ended(Duration::from_secs(20)).await.expect("refused").success());

    // She has no ingest: only the folder, and a command.
    let machine = here.join("anna");
    let delegate = || -> serde_json::Value {
        let said = ok(&machine, &["streamer", "delegate", "choir", "--for", "1h", "--json"]);
        serde_json::from_str(&said).unwrap()
    };
    let said = delegate();
    let session = said["session"].as_str().unwrap().to_owned();
    let is_live = |session: String| move |shown: &serde_json::Value| shown["session"]["session"] == *session;
    let publisher = publish_surely(here, &file, &up.rtmp(), "key-of-the-choir", is_live(session.clone())).await;
    playlist(&up.http, &up.https(), "choir", "audio", 2).await;
    let (ca, url) = (up.ca().display().to_string(), format!("{}/live/choir", up.https()));
    let verify = ["seal", "verify", &url, "--ca", &ca, "--root", "data/control/root.pub", "--media"];
    let verified = ok(here, &verify);
    for line in [
        "streamer ".to_owned(),
        " of anna, for streams choir alone".to_owned(),
        format!(" of ingest, for session {session} until "),
    ] {
        assert!(verified.contains(&line), "{line}: {verified}");
    }
    let foreign = run(&machine, &["streamer", "delegate", "hall"]);
    let why = String::from_utf8_lossy(&foreign.stderr).into_owned();
    assert!(!foreign.status.success() && why.contains("stream hall is none of streamer anna"), "{why}");

    // The stream ends, and its session with it.
    drop(publisher);
    eventually_async("the stream ends", Duration::from_secs(30), async || {
        (shown(here)?["session"]["state"] == "ended").then_some(())
    })
    .await;
    let mut second = publish(&file, &up.rtmp(), "key-of-the-choir");
    assert!(!second.ended(Duration::from_secs(20)).await.expect("refused").success());
    let again = delegate();
    assert_ne!(again["session"], said["session"]);
    let session = again["session"].as_str().unwrap().to_owned();
    let _publisher = publish_surely(here, &file, &up.rtmp(), "key-of-the-choir", is_live(session.clone())).await;
    let verified = eventually_async("a seal of the second session", Duration::from_secs(30), async || {
        Some(ok(here, &verify)).filter(|verified| verified.contains(&session))
    })
    .await;
    assert!(verified.contains("OK"), "{verified}");

    // Removed, she has delegated nothing: the stream is that of the shared ingest again, by its own right.
    ok(here, &["streamer", "remove", "anna"]);
    assert!(!run(&machine, &["streamer", "delegate", "choir"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_goes_on_when_its_root_key_was_taken_away_and_follows_another_one() {
    let _turn = turn().await;
    let up = Up::start_in(SEALCAST, configured(), &["--no-source"]).await;
    let here = up.directory.path();
    ok(here, &["root", "export", "stick.key"]);
    assert!(!here.join("data/control/root.key").exists());
    let shown = ok(here, &["root", "show"]);
    assert!(shown.contains("root key        elsewhere") && shown.contains("control until"), "{shown}");
    let why = run(here, &["root", "branch", "--yes"]);
    let why = String::from_utf8_lossy(&why.stderr).into_owned();
    assert!(why.contains("sealcast root branch --yes --key FILE"), "{why}");

    let directory = up.stop().await;
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let here = up.directory.path();
    ok(here, &["root", "make", "new.key"]);
    let said = ok(here, &["root", "rotate", "--key", "stick.key", "--new", "new.key"]);
    assert!(said.contains("root statement 2 is in force"), "{said}");
    assert!(!run(here, &["root", "branch", "--yes", "--key", "stick.key"]).status.success(), "it counts no more");
    ok(here, &["root", "branch", "--yes", "--key", "new.key"]);
    ok(here, &["stream", "create", "organ"]);

    let file = clip(here, Clip::default());
    let _publisher = publish(&file, &up.rtmp(), "key-of-the-hall");
    playlist(&up.http, &up.https(), "hall", "audio", 2).await;
    let (ca, url) = (up.ca().display().to_string(), format!("{}/live/hall", up.https()));
    let verified = ok(here, &["seal", "verify", &url, "--ca", &ca, "--root", "data/control/root.pub"]);
    assert!(verified.contains("statement 3"), "{verified}");
}
