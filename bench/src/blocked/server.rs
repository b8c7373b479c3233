//! The server of `blocked`: a broadcast node in a process of its own, so that memory and CPU are only the node's, and the code that
//! pushes to it over the data plane.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use broadcast::{Broadcast, Config};
use bus::broker;
use media::NodeId;
use messages::{SessionInfo, Topic};
use node::clock::Clock;
use node::ops::Ops;
use node::{CancellationToken, Context, Role, tls};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::balancer_process::{self, Listens, Running};
use crate::log::{Author, Row};
use crate::role::{Orders, PASSWORD, cpu_seconds, resident_bytes};
use granter::Granter;

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
    balancer: Option<(Running, Listens)>,
    /// Where viewers connect.
    pub(crate) https: SocketAddr,
    data: SocketAddr,
    ops: SocketAddr,
    pub(crate) viewers: rustls::ClientConfig,
    identity: tls::Identity,
    to_balancer: Orders,
    pushes: reqwest::Client,
    clock: Clock,
    pub(crate) author: Author,
    _control: (Context, Granter),
    _ingest: Context,
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
        std::fs::write(directory.join("root.pub"), author.root.public_key_bytes())?;
        let authority = tls::Authority::ensure(&directory.join("certs"), &clock)?;
        let user = |name: &str, access| broker::User { name: name.to_owned(), password: PASSWORD.to_owned(), access };
        let users = vec![
            user("b1", broker::Access::Broadcast),
            user("control", broker::Access::Control),
            user("ingest", broker::Access::Ingest),
            user("lb", broker::Access::LoadBalancer),
        ];
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
        let to_balancer = orders("lb", Role::LoadBalancer)?;
        let to_ingest = orders("ingest", Role::Ingest)?;
        let ingest = tls::Identity::load(&to_ingest.identity)?;
        tokio::spawn(broker.run(shutdown.clone()));
        let control = to_control.context(Role::Control, &Ops::new(), &shutdown).await?;
        let granter = Granter::start(&control, &author.root, &shutdown).await?;
        granter.grant(author.grant.clone()).await?;

        let announcing = to_ingest.context(Role::Ingest, &Ops::new(), &shutdown).await?;
        announce(&announcing, author.session(clock.wall())).await?;

        let Addresses { https, data, ops } = child.begin(&to_child).await?;
        let viewers = http2(&ingest, Role::Broadcast);
        let pushes = ingest.http_client(tls::Server::Any(Role::Broadcast))?;
        let _shutdown = shutdown.drop_guard();
        let mut node = Self {
            child,
            balancer: None,
            https,
            data,
            ops,
            viewers,
            identity: ingest,
            to_balancer,
            pushes,
            clock,
            author,
            _control: (control, granter),
            _ingest: announcing,
            _shutdown,
        };
        for _ in 0..segments * 8 {
            let row = node.author.next(clock.wall())?;
            node.push_bytes(&row).await?;
            node.push_seal(&row).await?;
        }
        node.wait("the stream is listed", |status| status["nodes"]["b1"]["streams"][0]["sequence"].as_u64().is_some())
            .await?;
        Ok(node)
    }

    /// From now on, viewers connect to a balancer before the node.
    pub(super) async fn put_behind(&mut self, mut balancer: Running) -> anyhow::Result<()> {
        let listens = balancer_process::begin(&mut balancer, &self.to_balancer).await?;
        self.https = listens.https;
        self.viewers = http2(&self.identity, Role::LoadBalancer);
        self.balancer = Some((balancer, listens));
        let is_online = |status: &Value| status["nodes"]["lb"]["broadcast"][0]["health"] == "online";
        wait(listens.ops, "the balancer finds the node", is_online).await
    }

    /// Resolves when this many requests of viewers wait on the balancer, or on the node if there is none.
    pub(super) async fn holds(&self, requests: u64) -> anyhow::Result<()> {
        let (name, ops) = self.balancer.as_ref().map_or(("b1", self.ops), |(_, listens)| ("lb", listens.ops));
        wait(ops, "all viewers wait", |status| status["nodes"][name]["waiting"].as_u64() == Some(requests)).await
    }

    /// Requests that wait on the node.
    pub(super) async fn waiting_on_the_node(&self) -> anyhow::Result<u64> {
        status(self.ops).await?["nodes"]["b1"]["waiting"].as_u64().context("the node does not say how many wait")
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

    async fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        wait(self.ops, what, holds).await
    }

    fn pid(&self) -> u32 {
        self.balancer.as_ref().map_or_else(|| self.child.pid(), |(balancer, _)| balancer.pid())
    }

    /// Resident memory of the process that viewers connect to, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        resident_bytes(self.pid())
    }

    /// CPU time of that process since its start, in seconds.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.pid())
    }
}

/// Announces the session. Otherwise a node takes itself for an edge a few seconds after the last push.
async fn announce(context: &Context, session: SessionInfo) -> anyhow::Result<()> {
    let topic = context.prefix.name(&Topic::Session(session.stream.clone()));
    let message = bus::Message { topic, payload: serde_json::to_vec(&session)?.into(), retain: true };
    Ok(context.bus.publish(message).await?)
}

/// How viewers connect to a role.
fn http2(identity: &tls::Identity, role: Role) -> rustls::ClientConfig {
    let mut tls = identity.client(tls::Server::Any(role));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    tls
}

async fn status(ops: SocketAddr) -> anyhow::Result<Value> {
    let status = reqwest::Client::new().get(format!("http://{ops}/status")).send().await?;
    Ok(serde_json::from_slice(&status.bytes().await?)?)
}

#[expect(clippy::disallowed_methods, reason = "measures real time")]
async fn wait(ops: SocketAddr, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds(&status(ops).await?) {
        ensure!(began.elapsed() < WAIT_MAX, "in vain: {what}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
