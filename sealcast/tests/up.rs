//! `sealcast up` for a new user: one command, a real publisher, every rendition decoded, a real browser.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::browser;
use testkit::hls::{decode, download, multivariant, playlist, renditions, span};
use testkit::http::{client, client_of, get};
use testkit::process::Process;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{self, Up, read_ready, text};
use testkit::wait::{PATIENCE, eventually_async, turn};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// Largest skew of audio and video: one AAC frame at 48 kHz, plus one video frame at 30 per second.
const SKEW_SECONDS_MAX: f64 = 0.0214 + 0.0334;

const NO_SOURCE: [&str; 1] = ["--no-source"];

fn with_stream(toml: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{toml}\n[[streams]]\nname = \"hall\"\nkey = \"for-this-test-only\"\n");
    std::fs::write(directory.path().join("sealcast.toml"), text).unwrap();
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn file_from_ffmpeg_is_watchable_on_every_rendition_and_its_log_verifies() {
    let _turn = turn().await;
    let ladder = "[[role.ingest.pipeline.rungs]]\nshort_side = 360\n[[role.ingest.pipeline.rungs]]\nshort_side = 240\n";
    let up = Up::start_in(SEALCAST, with_stream(ladder), &NO_SOURCE).await;
    let file = clip(up.directory.path(), Clip::default());
    let _publisher = publish(&file, &up.rtmp(), &up.key("hall"));

    let base = up.https();
    let master = multivariant(&up.http, &base, "hall").await;
    let names = renditions(&master);
    assert_eq!(names, ["240p", "360p", "audio"].map(str::to_owned).into_iter().collect::<BTreeSet<_>>());
    for variant in master.variants.iter().filter(|variant| !variant.is_i_frame) {
        assert!(variant.codecs.as_ref().is_some_and(|codecs| codecs.contains("avc1.") && codecs.contains("mp4a.40.2")));
        assert!(variant.resolution.is_some() && variant.frame_rate.is_some() && variant.average_bandwidth.is_some());
        assert!(variant.bandwidth >= variant.average_bandwidth.unwrap());
    }

    let mut spans = Vec::new();
    for name in &names {
        let bytes = download(&up.http, &base, "hall", name, 3).await;
        let path = up.directory.path().join(format!("{name}.mp4"));
        std::fs::write(&path, bytes).unwrap();
        decode(&path);
        spans.push(span(&path));
    }
    let apart = |times: Vec<f64>| {
        times.iter().copied().fold(f64::NEG_INFINITY, f64::max) - times.iter().copied().fold(f64::INFINITY, f64::min)
    };
    assert!(apart(spans.iter().map(|span| span.0).collect()) <= SKEW_SECONDS_MAX, "they start apart: {spans:?}");
    assert!(apart(spans.iter().map(|span| span.1).collect()) <= SKEW_SECONDS_MAX, "they end apart: {spans:?}");

    let verified = sealcast::command(SEALCAST)
        .args(["seal", "verify", "--media", "--json", "--ca"])
        .arg(up.ca())
        .arg("--root")
        .arg(up.directory.path().join("data/control/root.pub"))
        .arg(format!("{base}/live/hall"))
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let report: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(report["media_checked"].as_u64().unwrap() >= 9, "{report}");

    // With another root key, nothing verifies.
    let other = seal::RootKey::generate().unwrap().public_key().unwrap();
    let other_path = up.directory.path().join("other.pub");
    std::fs::write(&other_path, other.as_bytes()).unwrap();
    let refused = sealcast::command(SEALCAST)
        .args(["seal", "verify", "--ca"])
        .arg(up.ca())
        .arg("--root")
        .arg(&other_path)
        .arg(format!("{base}/live/hall"))
        .output()
        .unwrap();
    assert!(!refused.status.success());
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn test_source_is_watchable_in_a_browser_through_the_balancer() {
    let _turn = turn().await;
    let up = Up::start(SEALCAST, &[]).await;
    let base = up.https();
    playlist(&up.http, &base, "demo", "audio", 1).await;
    let report = browser::watch(&format!("{base}/watch/demo"), 25).await;
    report.assert_played_well(15.0);
    // The test picture is easy to encode, and has been live for long enough to be judged.
    let shown = sealcast::command(SEALCAST)
        .args(["stream", "show", "demo", "--json"])
        .current_dir(up.directory.path())
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let warnings = shown["input"]["warnings"].as_array().unwrap();
    assert!(warnings.iter().all(|warning| !warning["kind"].as_str().unwrap().starts_with("bit_rate")), "{shown}");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_nodes_serve_the_same_bytes() {
    let _turn = turn().await;
    let up = Up::start_in(SEALCAST, with_stream(""), &NO_SOURCE).await;
    let file = clip(up.directory.path(), Clip::default());
    let _publisher = publish(&file, &up.rtmp(), &up.key("hall"));
    let nodes: Vec<String> = up.ready["broadcast"].as_array().unwrap().iter().map(|node| text(node, "https")).collect();
    assert_eq!(nodes.len(), 2);
    playlist(&up.http, &nodes[0], "hall", "audio", 2).await;
    // For moments, each node is at its own place in the log; at the same place, they serve the same.
    let path = "/live/hall/audio/index.m3u8";
    let same = eventually_async("both nodes at the same place", Duration::from_secs(20), async || {
        let (a, b) = (
            get(&up.http, &format!("{}{path}", nodes[0])).await?,
            get(&up.http, &format!("{}{path}", nodes[1])).await?,
        );
        let tail = |text: &str| text.lines().last().map(str::to_owned);
        (tail(&a) == tail(&b)).then_some((a, b))
    })
    .await;
    assert_eq!(same.0, same.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_it_and_a_second_start_goes_on_with_the_log() {
    let _turn = turn().await;
    let up = Up::start_in(SEALCAST, with_stream(""), &NO_SOURCE).await;
    let file = clip(up.directory.path(), Clip::default());
    let publisher = publish(&file, &up.rtmp(), &up.key("hall"));
    let before = playlist(&up.http, &up.https(), "hall", "audio", 2).await;
    let key = up.key("hall");
    drop(publisher);
    let directory = up.stop().await;

    let up = Up::start_in(SEALCAST, directory, &NO_SOURCE).await;
    assert_eq!(up.key("hall"), key);
    let _publisher = publish(&file, &up.rtmp(), &key);
    let after = playlist(&up.http, &up.https(), "hall", "audio", 1).await;
    assert!(after.media_sequence > before.media_sequence, "media sequence numbers never go back");
    up.stop().await;
}

/// Media sequence number of the newest listed segment or part.
fn newest_shown(text: &str) -> u64 {
    let number = |uri: &str| uri.split('/').nth(1)?.split('.').next()?.parse::<u64>().ok();
    let parts = text.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
    let parts = parts.filter_map(|line| line.split("URI=\"").nth(1));
    let segments = text.lines().filter(|line| !line.starts_with('#'));
    parts.chain(segments).filter_map(number).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_anew_it_gives_no_number_to_other_media_than_before() {
    let _turn = turn().await;
    let settings = "role.ingest.segment_ms = 2000\nrole.broadcast.target_duration_s = 2";
    let mut up = Up::start_in(SEALCAST, with_stream(settings), &NO_SOURCE).await;
    let file = clip(up.directory.path(), Clip::default());
    let mut shown = None;
    for _ in 0..3 {
        let publisher = publish(&file, &up.rtmp(), &up.key("hall"));
        let url = format!("{}/live/hall/audio/index.m3u8", up.https());
        let first = playlist(&up.http, &up.https(), "hall", "audio", 1).await;
        if let Some(shown) = shown {
            assert!(first.media_sequence > shown, "{shown} was shown, and {} is its second one", first.media_sequence);
        }
        // Kill it when the first part of a segment has just been listed.
        let open = first.media_sequence + 3;
        shown = eventually_async("a segment that is open", PATIENCE, async || {
            let shown = newest_shown(&get(&up.http, &url).await?);
            (shown >= open).then_some(shown)
        })
        .await
        .into();
        let Up { mut process, directory, .. } = up;
        process.kill();
        drop(publisher);
        up = Up::start_in(SEALCAST, directory, &NO_SOURCE).await;
    }
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_administered_while_it_runs() {
    let _turn = turn().await;
    let up = Up::start(SEALCAST, &NO_SOURCE).await;
    let run = |arguments: &[&str]| {
        let output = sealcast::command(SEALCAST).args(arguments).current_dir(up.directory.path()).output().unwrap();
        (
            output.status.success(),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    };
    let (ok, made) = run(&["stream", "create", "hall"]);
    assert!(ok && made.contains("stream key"), "{made}");
    let (ok, again) = run(&["stream", "create", "hall"]);
    assert!(!ok && again.contains("there is a stream hall already"), "{again}");
    let (ok, bad) = run(&["stream", "create", "../x"]);
    assert!(!ok && bad.contains("not valid"), "{bad}");
    let line = made.lines().find_map(|line| line.strip_prefix("stream key")).unwrap();
    let key = line.split_whitespace().next().unwrap();
    assert!(key.starts_with("scp_"), "{made}");
    let (ok, shown) = run(&["stream", "show", "hall"]);
    assert!(ok && !shown.contains(key) && shown.contains(&key[key.len() - 4..]), "{shown}");
    assert!(shown.contains("sealcast stream rotate-key hall"), "{shown}");
    let (ok, listed) = run(&["stream", "list"]);
    assert!(ok && !listed.contains(key) && listed.contains(&format!("…{}", &key[key.len() - 4..])), "{listed}");
    let file = clip(up.directory.path(), Clip::default());
    let _publisher = publish(&file, &up.rtmp(), key);
    playlist(&up.http, &up.https(), "hall", "audio", 1).await;
    let (ok, nodes) = run(&["node", "list"]);
    assert!(ok && nodes.contains("broadcast") && nodes.contains("online"), "{nodes}");
    let mut unread = sealcast::command(SEALCAST);
    unread.args(["node", "list"]).current_dir(up.directory.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut unread = unread.spawn().unwrap();
    drop(unread.stdout.take());
    let output = unread.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let (ok, keys) = run(&["key", "list"]);
    assert!(ok && keys.contains("ingest"), "{keys}");
}

/// Requests the next playlist again and again with blocking reloads, until there is no answer.
async fn watch(http: reqwest::Client, playlist: String) {
    while let Some(text) = get(&http, &playlist).await {
        let number = |tag: &str| text.lines().find_map(|line| line.strip_prefix(tag)?.parse::<usize>().ok());
        let next = number("#EXT-X-MEDIA-SEQUENCE:").unwrap() + text.matches("#EXTINF").count();
        if get(&http, &format!("{playlist}?_HLS_msn={next}")).await.is_none() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regular_end_warns_of_nothing_though_viewers_watch() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    let small = "[test_source]\nwidth = 320\nheight = 180\nbit_rate = 200_000\n";
    std::fs::write(directory.path().join("sealcast.toml"), small).unwrap();
    let log = directory.path().join("log");
    let mut command = sealcast::command(SEALCAST);
    command.args(["up", "--ready-file", "ready.json"]).current_dir(directory.path());
    for listener in ["--rtmp-listen", "--https-listen", "--mqtt-listen", "--ops-listen"] {
        command.args([listener, "127.0.0.1:0"]);
    }
    let mut process = Process::spawn("sealcast up", command.stderr(std::fs::File::create(&log).unwrap()));
    let ready = read_ready(&directory.path().join("ready.json"), &mut process).await;
    let base = text(&ready, "https");
    let ca = directory.path().join(text(&ready, "ca"));
    let http = client(&ca);
    multivariant(&http, &base, "demo").await;

    let idle = client_of(&ca, |builder| builder.http1_only());
    get(&idle, &format!("{base}/live/demo/audio/index.m3u8")).await.unwrap();
    let viewers: Vec<_> = [http, client_of(&ca, |builder| builder.http1_only())]
        .into_iter()
        .flat_map(|http| ["180p", "audio"].map(|name| (http.clone(), format!("{base}/live/demo/{name}/index.m3u8"))))
        .map(|(http, playlist)| tokio::spawn(watch(http, playlist)))
        .collect();
    download(&idle, &base, "demo", "audio", 1).await;
    process.interrupt();
    assert!(process.ended(Duration::from_secs(10)).await.expect("it ends after Ctrl-C").success());
    for viewer in viewers {
        viewer.await.unwrap();
    }
    let log = std::fs::read_to_string(log).unwrap();
    let (_, end) = log.split_once("stopping").expect("it says that it stops");
    let warnings: Vec<&str> = end.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_whose_key_was_rotated_or_stream_deleted_is_let_go() {
    let _turn = turn().await;
    let up = Up::start(SEALCAST, &NO_SOURCE).await;
    let run = |arguments: &[&str]| {
        let output = sealcast::command(SEALCAST).args(arguments).current_dir(up.directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let key = |json: String| text(&serde_json::from_str(&json).unwrap(), "key");
    let ops = text(&up.ready, "ops");
    let let_go = async |reason: &str| {
        let metrics = get(&up.http, &format!("{ops}/metrics")).await.unwrap();
        metrics.contains(&format!("ingest_refused_total{{reason=\"{reason}\"}} 1\n"))
    };
    let file = clip(up.directory.path(), Clip::default());
    let url = format!("{}/live/hall/audio/index.m3u8", up.https());
    let on_air = async |key: &str, shows: &str| {
        let mut publisher = publish(&file, &up.rtmp(), key);
        eventually_async("the key to be taken", PATIENCE, async || {
            if publisher.has_ended().is_some() {
                // The ingest hears of a new key only after a moment.
                publisher = publish(&file, &up.rtmp(), key);
            }
            get(&up.http, &url).await.filter(|text| text.contains(shows)).map(drop)
        })
        .await;
        publisher
    };
    let leaked = key(run(&["stream", "create", "hall", "--json"]));
    let other = key(run(&["stream", "create", "other", "--json"]));
    let mut thief = on_air(&leaked, "#EXTINF").await;

    assert_ne!(key(run(&["stream", "rotate-key", "other", "--json"])), other);
    let kept = key(run(&["stream", "rotate-key", "hall", "--json"]));
    assert!(thief.ended(PATIENCE).await.is_some(), "let go");
    assert!(let_go("key_changed").await);
    assert!(publish(&file, &up.rtmp(), &leaked).ended(PATIENCE).await.is_some(), "nor is the old key taken again");
    let mut owner = on_air(&kept, "#EXT-X-DISCONTINUITY\n").await;

    assert!(run(&["stream", "delete", "hall"]).contains("its publisher is disconnected"));
    assert!(owner.ended(PATIENCE).await.is_some(), "let go");
    assert!(let_go("stream_deleted").await);
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_that_up_draws_is_shown_at_each_start_and_follows_a_rotation() {
    let _turn = turn().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), "[[streams]]\nname = \"hall\"\n").unwrap();
    let up = Up::start_in(SEALCAST, directory, &NO_SOURCE).await;
    let drawn = up.key("hall");
    let rotate = ["stream", "rotate-key", "hall", "--json"];
    let output = sealcast::command(SEALCAST).args(rotate).current_dir(up.directory.path()).output().unwrap();
    let rotated = text(&serde_json::from_slice(&output.stdout).unwrap(), "key");
    assert!(drawn.starts_with("scp_") && rotated.starts_with("scp_") && drawn != rotated);
    let up = Up::start_in(SEALCAST, up.stop().await, &NO_SOURCE).await;
    assert_eq!(up.key("hall"), rotated);
    up.stop().await;
}

/// Runs `sealcast up`, which has to fail, and returns its one line on standard error.
fn refusal(directory: &std::path::Path, arguments: &[&str]) -> String {
    let output = sealcast::command(SEALCAST).arg("up").args(arguments).current_dir(directory).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("sealcast: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].to_owned()
}

#[test]
fn what_stops_a_start_is_one_line_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = ["--https-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
    let said = refusal(directory.path(), &[&["--rtmp-listen", &address][..], &free].concat());
    assert!(said.contains(&address) && said.contains("taken") && said.contains("--rtmp-listen"), "{said}");

    std::fs::write(directory.path().join("bad.toml"), "rtmp_listen = \"127.0.0.1:0\"\nrtpm_listen = 1\n").unwrap();
    let said = refusal(directory.path(), &["--config", "bad.toml"]);
    assert!(said.contains("bad.toml") && said.contains("rtpm_listen"), "{said}");

    let said = refusal(directory.path(), &["--config", "missing.toml"]);
    assert!(said.contains("missing.toml"), "{said}");
    let said = refusal(directory.path(), &["--broadcast", "0"]);
    assert!(said.contains("1 to 16"), "{said}");
    let said = refusal(directory.path(), &["--rtmp-listen", "127.0.0.1:7000", "--https-listen", "127.0.0.1:7000"]);
    assert!(said.contains("both"), "{said}");
}

#[test]
fn help_and_completion_are_there() {
    for arguments in [&["--help"][..], &["up", "--help"], &["seal", "verify", "--help"], &["completion", "bash"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_sealcast")).args(arguments).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_is_published_over_tls_is_watchable() {
    let _turn = turn().await;
    let flags = ["--no-source", "--broadcast", "1", "--rtmps-listen", "127.0.0.1:0"];
    let up = Up::start_in(SEALCAST, with_stream(""), &flags).await;
    let file = clip(up.directory.path(), Clip::default());
    let rtmps = text(&up.ready, "rtmps");
    assert!(rtmps.starts_with("rtmps://127.0.0.1:") && rtmps.ends_with("/live"), "{rtmps}");
    let _publisher = publish(&file, &rtmps, &up.key("hall"));
    let master = multivariant(&up.http, &up.https(), "hall").await;
    assert!(renditions(&master).contains("audio"));
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_that_is_told_to_asks_for_tls_and_everything_serves() {
    let directory = with_stream("mqtt_tls = true\n");
    let up = Up::start_in(SEALCAST, directory, &["--no-source", "--broadcast", "1"]).await;
    // The cluster is ready only after the balancer has heard of a node on the bus.
    let broker = up.ready["mqtt"][0].as_str().unwrap();
    let address = broker.strip_prefix("mqtts://").unwrap();
    let (host, port) = address.split_once(':').unwrap();
    let password = std::fs::read_to_string(up.directory.path().join("data/bus/observer.password")).unwrap();
    let onlooker = |arguments: &[&str]| {
        let mut command = std::process::Command::new("mosquitto_sub");
        command.args(["-h", host, "-p", port, "-u", "observer", "-P", &password, "-C", "1", "-W", "20"]);
        command.args(["-t", "sealcast/v1/nodes/b1"]).args(arguments).output().unwrap()
    };
    let heard = onlooker(&["--cafile", &up.directory.path().join("data/certs/broker-ca.pem").display().to_string()]);
    assert!(String::from_utf8_lossy(&heard.stdout).contains("\"b1\""), "{heard:?}");
    assert!(!onlooker(&[]).status.success(), "without TLS");
    let metrics = get(&up.http, &format!("{}/metrics", text(&up.ready, "ops"))).await.unwrap();
    assert!(metrics.contains("tls_certificate_end_seconds{node=\"b1\",certificate=\"node\"}"), "{metrics}");
    up.stop().await;
}
