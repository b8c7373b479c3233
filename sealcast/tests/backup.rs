//! A real `sealcast up` is backed up while streams are made, restored elsewhere, and goes on there.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use testkit::hls;
use testkit::publish::{Clip, clip, publish};
use testkit::sealcast::{self, Up, text};
use testkit::wait::{eventually, turn};

const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");
const NO_SOURCE: [&str; 1] = ["--no-source"];

/// A stream that was made, and its key.
type Made = (String, String);

fn run(directory: &Path, arguments: &[&str]) -> Output {
    sealcast::command(SEALCAST).args(arguments).current_dir(directory).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn create(directory: &Path, name: &str) -> Made {
    let output = run(directory, &["stream", "create", name, "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    (name.to_owned(), text(&serde_json::from_slice(&output.stdout).unwrap(), "key"))
}

/// Makes streams one after the other until dropped.
struct Writer {
    made: Arc<Mutex<Vec<Made>>>,
    is_over: Arc<AtomicBool>,
    task: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(directory: &Path) -> Self {
        let (made, is_over, directory) =
            (Arc::<Mutex<Vec<Made>>>::default(), Arc::<AtomicBool>::default(), directory.to_owned());
        let (into, stop) = (Arc::clone(&made), Arc::clone(&is_over));
        let task = std::thread::spawn(move || {
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let one = create(&directory, &format!("s{n}"));
                into.lock().unwrap().push(one);
            }
        });
        Self { made, is_over, task: Some(task) }
    }

    /// What was acknowledged until now.
    fn made(&self) -> Vec<Made> {
        self.made.lock().unwrap().clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let ended = self.task.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

/// How many of some keys are in files below a directory.
fn keys_in(directory: &Path, keys: &[Made]) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += keys_in(&path, keys);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let holds = |key: &str| bytes.windows(key.len()).any(|window| window == key.as_bytes());
        found += keys.iter().filter(|(_, key)| holds(key)).count();
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_under_writes_has_all_that_was_acknowledged_and_goes_on_elsewhere() {
    let _turn = turn().await;
    let up = Up::start(SEALCAST, &NO_SOURCE).await;
    let here = up.directory.path().to_owned();
    let writer = Writer::start(&here);
    let elsewhere = tempfile::tempdir().unwrap();
    for round in 0..3 {
        eventually("some streams", || (writer.made().len() > round * 4 + 2).then_some(())).await;
        let (before, archive) = (writer.made(), format!("backup{round}.tar"));
        let output = run(&here, &["backup", &archive]);
        assert!(output.status.success(), "{}", said(&output));
        let data = elsewhere.path().join(format!("data{round}"));
        let output = run(&here, &["restore", &archive, "--data", data.to_str().unwrap()]);
        assert!(
            output.status.success() && said(&output).contains("start control of cluster sealcast there"),
            "{}",
            said(&output)
        );
        assert_eq!(keys_in(&data, &before), 0, "no key is in the clear");
        if round == 2 {
            let newest = before.last().unwrap().clone();
            drop(writer);
            let here = up.stop().await;
            assert_eq!(keys_in(&here.path().join("data"), &before), 0, "nor here");
            std::fs::rename(&data, elsewhere.path().join("data")).unwrap();
            return goes_on(elsewhere, &before, &newest).await;
        }
    }
}

/// The restored cluster has the streams, and their keys publish.
async fn goes_on(directory: tempfile::TempDir, made: &[Made], newest: &Made) {
    let up = Up::start_in(SEALCAST, directory, &NO_SOURCE).await;
    let listed: Value =
        serde_json::from_slice(&run(up.directory.path(), &["stream", "list", "--json"]).stdout).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|stream| stream["name"].as_str().unwrap()).collect();
    let missing: Vec<&String> =
        made.iter().map(|(name, _)| name).filter(|name| !names.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {names:?}");
    let file = clip(up.directory.path(), Clip::default());
    let _publisher = publish(&file, &up.rtmp(), &newest.1);
    hls::playlist(&up.http, &up.https(), &newest.0, "audio", 1).await;
    up.stop().await;
}

/// Kills a backup: while it copies, or while it writes the archive.
fn killed_backup(directory: &Path, archive: &str, is_writing: bool) {
    let mut command = sealcast::command(SEALCAST);
    command.args(["backup", archive]).current_dir(directory).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut backup = command.spawn().unwrap();
    let begins = if is_writing { "writing " } else { "copying " };
    let mut progress = BufReader::new(backup.stderr.take().unwrap()).lines();
    assert!(progress.any(|line| line.unwrap().starts_with(begins)), "it says what it does");
    backup.kill().unwrap();
    backup.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_that_is_killed_leaves_no_archive_that_is_not_whole() {
    let _turn = turn().await;
    let up = Up::start(SEALCAST, &NO_SOURCE).await;
    let here = up.directory.path();
    // Something that takes a while.
    std::fs::File::create(here.join("data/certs/large")).unwrap().set_len(64 << 20).unwrap();
    let mut killed = 0;
    for round in 0..6 {
        let archive = format!("k{round}.tar");
        killed_backup(here, &archive, round % 2 == 1);
        if !here.join(&archive).exists() {
            killed += 1;
            continue;
        }
        let output = run(here, &["restore", &archive, "--data", &format!("data{round}")]);
        assert!(output.status.success(), "an archive that is there is whole: {}", said(&output));
    }
    assert!(killed > 3, "{killed} backups were killed in time");
    let nowhere = run(here, &["backup", "not/there/last.tar"]);
    assert!(
        said(&nowhere).contains("there is no directory not/there: make it, or give another path"),
        "{}",
        said(&nowhere)
    );
    assert!(!here.join("not").exists());
    // What is left of them disturbs nobody.
    assert!(run(here, &["backup", "last.tar"]).status.success());
    assert!(run(here, &["restore", "last.tar", "--data", "restored"]).status.success());
    up.stop().await;
}

/// A disk of its own is mounted where the data are to be, as in a container: it cannot be renamed over, and is not the disk beside it.
#[tokio::test(flavor = "multi_thread")]
async fn backup_is_restored_to_a_mount_point() {
    let _turn = turn().await;
    let up = Up::start(SEALCAST, &NO_SOURCE).await;
    let here = up.directory.path();
    assert!(run(here, &["backup", "b.tar"]).status.success());
    std::fs::create_dir(here.join("mounted")).unwrap();
    let script = "mount -t tmpfs tmpfs mounted && \"$0\" restore b.tar --data mounted && ls mounted/control/root.pub && ls -A mounted";
    // Mounts as root of a user namespace; nobody else sees that.
    let restored = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, SEALCAST])
        .current_dir(here)
        .output()
        .unwrap();
    let said = said(&restored);
    assert!(restored.status.success() && !said.contains("tmp\n"), "{said}");
    up.stop().await;
}

#[test]
fn backup_says_what_to_do_where_no_control_has_run() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["backup", "b.tar"]);
    assert!(
        !output.status.success() && said(&output).contains("start `sealcast up`, or give --data DIR"),
        "{}",
        said(&output)
    );
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
