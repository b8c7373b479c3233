//! Control that is restored from an old backup, and control that runs twice: both could fork what the cluster agrees on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::process::Process;
use testkit::sealcast;
use testkit::wait::{PATIENCE, eventually_async};

use super::cluster::{Cluster, WallClock};

/// How long a second control may run before it has noticed the first.
const DOUBLED_MAX: Duration = Duration::from_secs(20);
const REASON: &str = "another control node writes the metadata log";

impl Cluster {
    /// Backs control up, has it write more, and brings it back from the backup. It has to take from the nodes what it has forgotten, and
    /// then write again.
    pub async fn restore_control(&mut self) {
        let (data, backup) = (self.path("data/control"), self.path("backup"));
        self.kill_node("control");
        replace(&data, &backup);
        self.start_node("control", WallClock::Right).await;
        for ghost in ["ghost-1", "ghost-2", "ghost-3"] {
            self.write(ghost).await;
        }
        let before = self.log().await.expect("control answers");
        self.kill_node("control");
        replace(&backup, &data);
        self.start_node("control", WallClock::Right).await;
        self.write("ghost-4").await;
        let after = self.log().await.expect("control answers");
        let sequence = |log: &Value| log["sequence"].as_u64().expect("a number");
        assert_eq!(sequence(&after), sequence(&before) + 1, "{before} {after}");
        assert!(after["fork"].is_null(), "{after}");
    }

    /// Starts a second control with a copy of the first one's data. It has to end by itself.
    pub async fn double_control(&mut self) {
        let twin = self.path("twin");
        std::fs::create_dir_all(&twin).expect("a directory");
        self.kill_node("control");
        replace(&self.path("data/control"), &twin.join("control"));
        self.start_node("control", WallClock::Right).await;

        let listens =
            self.config("control").lines().find(|line| line.starts_with("data_listen")).expect("it is set").to_owned();
        let config = self.config("control").replace("data = \"data\"", "data = \"twin\"");
        let file = self.path("twin.toml");
        std::fs::write(&file, config.replace(&listens, "data_listen = \"127.0.0.1:0\"")).expect("written");
        let mut command = sealcast::command(crate::SEALCAST);
        command.args(["control", "--id", "control", "--ops-listen", "127.0.0.1:0", "--config"]).arg(&file);
        command.current_dir(self.directory.path()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(self.path("twin.log")).expect("a log file"));
        let mut second = Process::spawn("the second control", &mut command);
        let ended = second.ended(DOUBLED_MAX).await;
        let said = std::fs::read_to_string(self.path("twin.log")).unwrap_or_default();
        assert!(ended.is_some_and(|status| !status.success()) && said.contains(REASON), "{ended:?}: {said}");
        self.write("ghost-5").await;
        let log = self.log().await.expect("control answers");
        assert!(log["fork"].is_null(), "{log}");
    }

    /// Has control write an entry that changes nothing for anybody: it revokes a node that is not there.
    async fn write(&self, ghost: &str) {
        eventually_async("control to write", PATIENCE, async || self.admin(&["revoke", ghost]).await.ok()).await;
    }

    /// Where the metadata log stands on control.
    async fn log(&self) -> Option<Value> {
        let text = self.run(&["root", "show", "--json"]).await.ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// Puts a copy of a directory's contents in place of another's, which may be the root of a file system.
fn replace(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(to).expect("a directory") {
        let path = entry.expect("an entry").path();
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.expect("removed");
    }
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.expect("cp is there").success());
}
