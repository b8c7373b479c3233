//! Child processes that end with the test.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A child process that is killed when this is dropped, and so at every end of a test.
pub struct Process {
    child: Child,
    pub name: String,
}

impl Process {
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name: name.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    /// `kill -INT`, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// `kill -NAME`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// Waits until it has ended by itself; none if it still runs after `within`.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let mut status = None;
        let deadline = tokio::time::sleep(within);
        tokio::pin!(deadline);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while status.is_none() {
            tokio::select! {
                () = &mut deadline => break,
                _ = tick.tick() => status = self.has_ended(),
            }
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago, for programs that cannot choose one themselves. It is below those that the system gives to
/// connections, so none takes it meanwhile; each test process begins elsewhere, and gives out none twice.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let ports = std::iter::repeat_with(|| {
        let turn = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + std::process::id().wrapping_mul(611).wrapping_add(turn) % COUNT;
        u16::try_from(port).expect("a port")
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.take(1_000).find(is_free).expect("a free port")
}
