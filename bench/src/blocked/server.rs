//! The server of `blocked`: a broadcast node in a process of its own, so that memory and CPU are only the node's, and the code that
//! pushes to it over the data plane.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use broadcast::{Broadcast, Config};
use bus::Message;
use bus::broker;
use media::NodeId;
use node::clock::Clock;
use node::ops::Ops;
use node::{CancellationToken, Role, tls};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::log::{Author, Row};
use crate::role::{Orders, PASSWORD, cpu_seconds, resident_bytes};

/// Longest wait for a node to start and to list media.
const WAIT_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Limit of the node's connections: those of all viewers, and room.
const CONNECTIONS_MAX: usize = 65_536;

/// How far back viewers can go on a node that is attacked, in seconds.
const ATTACKED_DVR_S: u64 = 14_400;

/// Where the child listens: for viewers, for pushes, and for its ops plane.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) https: SocketAddr,
    pub(crate) data: SocketAddr,
    pub(crate) ops: SocketAddr,
}

/// The child: reads its orders from standard input, and serves until that is closed.
pub(crate) fn serve() -> anyhow::Result<()> {
    node::files::raise_open_files_limit();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let Ok(orders) = serde_json::from_str::<Orders>(&line) else { return Ok(()) };
    tokio::runtime::Runtime::new()?.block_on(async {
        let shutdown = CancellationToken::new();
        let ops = Ops::new();
        let context = orders.context(Role::Broadcast, &ops, &shutdown).await?;
        let mut config = Config { root_key: orders.directory.join("root.pub"), ..Config::default() };
        match orders.attacked {
            Some(bytes) => (config.media_bytes_max, config.dvr_window_s) = (bytes, ATTACKED_DVR_S),
            None => config.connections_max = CONNECTIONS_MAX,
        }
        let broadcast = Broadcast::load(config, context).await?;
        let server = ops.load(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let addresses =
            Addresses { https: broadcast.https_address(), data: broadcast.data_address(), ops: server.address() };
        tokio::spawn(server.run(shutdown.clone()));
        let running = tokio::spawn(broadcast.run(shutdown.clone()));
        println!("{}", serde_json::to_string(&addresses)?);
        let mut nothing = Vec::new();
        tokio::io::stdin().read_to_end(&mut nothing).await?;
        shutdown.cancel();
        running.await?
    })
}

/// A child process that waits for its orders.
pub(crate) struct Idle(Child);

impl Idle {
    pub(crate) fn spawn() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Self(command.arg("--blocked-node").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Sends the child its orders, and waits until it serves.
    pub(crate) async fn begin(&mut self, orders: &Orders) -> anyhow::Result<Addresses> {
        let mut input = self.0.stdin.as_ref().context("no input")?;
        writeln!(input, "{}", serde_json::to_string(orders)?)?;
        let out = self.0.stdout.take().context("no output")?;
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).map(|_| line)
        });
        serde_json::from_str(&line.await??).context("the node did not start")
    }

    /// Process id of the child.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The child, its broker, and the stream that is pushed to it.
pub(crate) struct Server {
    child: Idle,
    pub(crate) https: SocketAddr,
    data: SocketAddr,
    ops: SocketAddr,
    pub(crate) viewers: rustls::ClientConfig,
    pushes: reqwest::Client,
    clock: Clock,
    pub(crate) author: Author,
    _shutdown: tokio_util::sync::DropGuard,
}

impl Server {
    /// Starts them, and pushes the first segments.
    pub(crate) async fn start(
        child: Idle,
        directory: &Path,
        part_bytes: usize,
        segments: usize,
    ) -> anyhow::Result<Self> {
        Self::start_attacked(child, directory, (part_bytes, segments), None).await
    }

    /// The same with so much memory for media, if given, and with a recording.
    pub(crate) async fn start_attacked(
        mut child: Idle,
        directory: &Path,
        (part_bytes, segments): (usize, usize),
        attacked: Option<u64>,
    ) -> anyhow::Result<Self> {
        let clock = Clock::new();
        let author = Author::new(1, part_bytes, clock.wall())?;
        std::fs::write(directory.join("root.pub"), author.root.as_bytes())?;
        let authority = tls::Authority::ensure(&directory.join("certs"), &clock)?;
        let user = |name: &str, access| broker::User { name: name.to_owned(), password: PASSWORD.to_owned(), access };
        let users = vec![user("b1", broker::Access::Broadcast), user("control", broker::Access::Control)];
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker =
            broker::EmbeddedBroker::load(broker::Config { listen, users, ..broker::Config::default() }).await?;
        let shutdown = CancellationToken::new();
        let orders = |name: &str, role| {
            let identity = authority.issue(&NodeId::new(name)?, role, &[])?;
            anyhow::Ok(Orders {
                name: name.to_owned(),
                directory: directory.to_owned(),
                broker: broker.address(),
                identity,
                attacked,
            })
        };
        let (to_child, to_control) = (orders("b1", Role::Broadcast)?, orders("control", Role::Control)?);
        let ingest = tls::Identity::load(&orders("ingest", Role::Ingest)?.identity)?;
        tokio::spawn(broker.run(shutdown.clone()));
        let control = to_control.context(Role::Control, &Ops::new(), &shutdown).await?;
        let topic = control.prefix.name(&messages::Topic::Key(author.key_id()));
        control.bus.publish(Message { topic, payload: author.grant.clone(), retain: true }).await?;

        let Addresses { https, data, ops } = child.begin(&to_child).await?;
        let mut viewers = ingest.client(tls::Server::Any(Role::Broadcast));
        viewers.alpn_protocols = vec![b"h2".to_vec()];
        let pushes = ingest.http_client(tls::Server::Any(Role::Broadcast))?;
        let _shutdown = shutdown.drop_guard();
        let mut node = Self { child, https, data, ops, viewers, pushes, clock, author, _shutdown };
        for _ in 0..segments * 8 {
            let row = node.author.next(clock.wall())?;
            node.push_bytes(&row).await?;
            node.push_seal(&row).await?;
        }
        node.wait("the stream is listed", |status| status["nodes"]["b1"]["streams"][0]["sequence"].as_u64().is_some())
            .await?;
        Ok(node)
    }

    pub(crate) fn next_row(&mut self) -> anyhow::Result<Row> {
        self.author.next(self.clock.wall())
    }

    pub(crate) async fn push_bytes(&self, row: &Row) -> anyhow::Result<()> {
        for (name, bytes) in &row.objects {
            self.put(&name.to_string(), bytes.clone()).await?;
        }
        Ok(())
    }

    pub(crate) async fn push_seal(&self, row: &Row) -> anyhow::Result<()> {
        self.put(&format!("/live/{}/seals", self.author.stream), row.sealed.raw().clone()).await
    }

    async fn put(&self, path: &str, bytes: bytes::Bytes) -> anyhow::Result<()> {
        let answer = self.pushes.put(format!("https://{}{path}", self.data)).body(bytes).send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "measures real time")]
    pub(super) async fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let status = reqwest::Client::new().get(format!("http://{}/status", self.ops)).send().await?;
            if holds(&serde_json::from_slice(&status.bytes().await?)?) {
                return Ok(());
            }
            ensure!(began.elapsed() < WAIT_MAX, "in vain: {what}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Resident memory of the child, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        resident_bytes(self.child.pid())
    }

    /// CPU time of the child since its start, in seconds.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.child.pid())
    }
}
