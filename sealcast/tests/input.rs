//! The report on a stream's input, from a real publisher to the command line.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::process::Process;
use testkit::sealcast::{self, Up};
use testkit::wait::eventually_async;

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

/// Configuration of the stream.
const STREAM: &str = "[[streams]]\nname = \"hall\"\nkey = \"for-this-test-only\"\n\
    [[role.ingest.pipeline.rungs]]\nshort_side = 180\n";

/// Publishes as an encoder with default settings: a keyframe every 250 frames, and no audio.
fn publish(rtmp: &str, key: &str) -> Process {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "250", "-keyint_min", "250"])
        .args(["-sc_threshold", "0", "-b:v", "300k", "-f", "flv", &format!("{rtmp}/{key}")])
        .stderr(Stdio::null());
    Process::spawn("ffmpeg", &mut command)
}

fn run(directory: &Path, arguments: &[&str]) -> String {
    let output = sealcast::command(SEALCAST).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The text of a warning, if it is shown.
fn warning(input: &Value, kind: &str) -> Option<String> {
    let warnings = input["warnings"].as_array()?;
    Some(warnings.iter().find(|warning| warning["kind"] == kind)?["text"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn streamer_with_a_long_keyframe_interval_is_told_so_and_what_to_set() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sealcast.toml"), STREAM).unwrap();
    let up = Up::start_in(SEALCAST, directory, &["--no-source"]).await;
    let directory = up.directory.path();
    assert!(run(directory, &["stream", "show", "hall"]).contains("never published"));
    let publisher = publish(&up.rtmp(), &up.key("hall"));

    let input = eventually_async("a whole keyframe interval", Duration::from_secs(60), async || {
        let shown: Value = serde_json::from_str(&run(directory, &["stream", "show", "hall", "--json"])).unwrap();
        let told = warning(&shown["input"], "keyframe_interval").is_some_and(|text| text.contains("interval is 8.3 s"));
        told.then(|| shown["input"].clone())
    })
    .await;
    let text = warning(&input, "keyframe_interval").unwrap();
    assert!(text.starts_with("keyframe interval is 8.3 s; set 2 s in OBS for low latency"), "{text}");
    assert!(warning(&input, "no_audio").is_some_and(|text| text.contains("no sound comes")), "{input}");
    assert!(input["encoder"].as_str().unwrap().starts_with("Lavf"), "{input}");
    assert_eq!((&input["video"]["width"], &input["video"]["height"]), (&320.into(), &180.into()), "{input}");
    assert_eq!(input["video"]["announced_frame_rate_millihertz"], 30_000, "{input}");
    let rate = input["video"]["frame_rate_millihertz"].as_u64().unwrap();
    assert!((29_000..=31_000).contains(&rate), "{rate}");
    assert!(input["bit_rate"].as_u64().unwrap() > 50_000, "{input}");
    assert!(!input.to_string().contains("127.0.0.1"), "the publisher's address is nobody's business: {input}");

    let table = run(directory, &["stream", "show", "hall"]);
    assert!(table.contains("picture       H.264") && table.contains("keyframes     every 8.3 s"), "{table}");
    assert!(table.contains("warning       keyframe interval is 8.3 s"), "{table}");
    let list = run(directory, &["stream", "list"]);
    assert!(list.contains("H.264 320x180"), "{list}");

    let ops = sealcast::text(&up.ready, "ops");
    let get = async |path: &str| up.http.get(format!("{ops}{path}")).send().await.unwrap().text().await.unwrap();
    let status: Value = serde_json::from_str(&get("/status").await).unwrap();
    let shown = status["nodes"]
        .as_object()
        .unwrap()
        .values()
        .find_map(|node| warning(&node["streams"]["hall"]["input"], "keyframe_interval"));
    assert!(shown.is_some(), "{status}");
    let metrics = get("/metrics").await;
    assert!(metrics.contains("ingest_input_keyframe_interval_seconds{stream=\"hall\"} 8.3"), "{metrics}");

    drop(publisher);
    eventually_async("the publisher to be gone", Duration::from_secs(30), async || {
        run(directory, &["stream", "show", "hall"]).contains("publisher away").then_some(())
    })
    .await;
    up.stop().await;
}
