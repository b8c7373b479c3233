//! A real PostgreSQL in a temporary directory, for one test process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs the server until its input ends, which it does however this process ends; then removes its directory.
const SUPERVISE: &str = r#"
set -eu
cd "$1"
"$2/initdb" --pgdata=data --username=test --auth=trust --no-sync --encoding=UTF8 --locale=C.UTF-8 >log 2>&1
"$2/pg_ctl" start --pgdata=data --wait --log=log --options="-c listen_addresses='' -c unix_socket_directories='$1' -c fsync=off -c max_connections=40" >/dev/null
echo ready
while read -r command; do
    "$2/pg_ctl" restart --pgdata=data --wait --log=log --mode=immediate >/dev/null
    echo "$command"
done
"$2/pg_ctl" stop --pgdata=data --mode=immediate >/dev/null
cd /
rm -rf "$1"
"#;

/// A running server. It ends with this, or with the process.
pub struct Postgres {
    supervisor: Child,
    answers: BufReader<std::process::ChildStdout>,
    directory: PathBuf,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes and starts a server that listens at a socket in its own directory only.
    ///
    /// # Panics
    /// When PostgreSQL is not installed (`scripts/setup.sh test`), or does not start.
    pub fn start() -> Self {
        let programs = programs();
        let directory = tempfile::Builder::new().prefix("pg").tempdir().expect("a temporary directory").keep();
        let mut command = as_anybody(&directory);
        command.args(["sh", "-c", SUPERVISE, "postgres"]).arg(&directory).arg(&programs);
        let mut supervisor = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the supervisor of PostgreSQL starts");
        let answers = BufReader::new(supervisor.stdout.take().expect("its output is piped"));
        let mut server = Self { supervisor, answers, directory, databases: AtomicU32::new(0) };
        server.expect("ready");
        server
    }

    fn expect(&mut self, answer: &str) {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("its output can be read");
        let log = || std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        assert_eq!(line.trim(), answer, "PostgreSQL: {}", log());
    }

    /// Ends the server as a crash would, and starts it again; returns when it answers.
    pub fn restart(&mut self) {
        use std::io::Write as _;
        let input = self.supervisor.stdin.as_mut().expect("its input is piped");
        input.write_all(b"restarted\n").expect("the supervisor of PostgreSQL listens");
        self.expect("restarted");
    }

    /// URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = Command::new(programs().join("createdb"))
            .args(["--username=test", "--host"])
            .arg(&self.directory)
            .arg(&name)
            .output()
            .expect("createdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        format!("postgres:///{name}?host={}&user=test", self.directory.display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Where Debian keeps the programs of the newest version that is installed.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed (scripts/setup.sh test)");
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|path| path.join("initdb").exists()).max().expect("PostgreSQL is installed")
}

/// A command as a user without rights: PostgreSQL refuses to run as root.
fn as_anybody(directory: &Path) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Command::new("env");
    }
    let changed = std::os::unix::fs::chown(directory, Some(NOBODY), Some(NOBODY));
    changed.expect("root may give a directory away");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command
}

/// The user `nobody`.
const NOBODY: u32 = 65_534;
