//! A load balancer in a process of its own, so that its CPU and memory are its alone.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use loadbalancer::LoadBalancer;
use node::ops::Ops;
use node::{CancellationToken, Role};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use crate::role::Orders;

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// Limit of a balancer's connections: those of all viewers, and room.
const CONNECTIONS_MAX: usize = 16_384;

/// Where a balancer listens: for viewers, and its ops plane.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Listens {
    pub(crate) https: SocketAddr,
    pub(crate) ops: SocketAddr,
}

/// The child: reads its orders from standard input, and balances until that is closed.
pub(crate) fn serve() -> anyhow::Result<()> {
    node::files::raise_open_files_limit();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let Ok(orders) = serde_json::from_str::<Orders>(&line) else { return Ok(()) };
    tokio::runtime::Runtime::new()?.block_on(async {
        let shutdown = CancellationToken::new();
        let ops = Ops::new();
        let context = orders.context(Role::LoadBalancer, &ops, &shutdown).await?;
        let config = loadbalancer::Config {
            https_listen: ANY_PORT.into(),
            connections_max: CONNECTIONS_MAX,
            requests_per_address_max: CONNECTIONS_MAX,
            ..loadbalancer::Config::default()
        };
        let balancer = LoadBalancer::load(config, context).await?;
        let server = ops.load(ANY_PORT.into()).await?;
        let listens = Listens { https: balancer.https_address(), ops: server.address() };
        println!("{}", serde_json::to_string(&listens)?);
        tokio::spawn(server.run(shutdown.clone()));
        let running = tokio::spawn(balancer.run(shutdown.clone()));
        let mut nothing = Vec::new();
        tokio::io::stdin().read_to_end(&mut nothing).await?;
        shutdown.cancel();
        running.await?
    })
}

/// A balancer's process, killed when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A load balancer in a process of its own, which waits for its orders.
pub(crate) fn idle() -> anyhow::Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(Running(command.arg("--balancer").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
}

/// Sends a load balancer its orders, and waits until it serves.
pub(crate) async fn begin(balancer: &mut Running, orders: &Orders) -> anyhow::Result<Listens> {
    let mut input = balancer.0.stdin.as_ref().context("no input")?;
    writeln!(input, "{}", serde_json::to_string(orders)?)?;
    let out = balancer.0.stdout.take().context("no output")?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).map(|_| line)
    });
    serde_json::from_str(&line.await??).context("the load balancer did not start")
}
