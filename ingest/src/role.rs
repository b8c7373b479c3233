//! The role: binds, then runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use issuers::{Issuers, Known};
use messages::Role;
use node::CancellationToken;
use node::config::with_host_name;
use node::publish_url::PublishUrl;
use node::tls::Clients;
use replica::{Log, Membership, Report, Rules};
use seal::RootPublicKey;

use crate::authority::Authority;
use crate::intake::hub::{Drive, Hub, Patience};
use crate::log::heads::Heads;
use crate::nodes::Nodes;
use crate::pipeline::thumbnail::Thumbnailer;
use crate::push::Links;
use crate::report::stats::StatusBoard;
use crate::rtmp_server::Server;
use crate::session::{Handles, drive};
use crate::{Config, pipeline};

/// Where publishers reach the ingest: what is configured, or else the port, at whatever host the cluster is reached. An application that a
/// URL would have to escape is not named.
fn public_url(config: &Config, server: &Server) -> Option<String> {
    let (is_secure, address) = server.secure_address().map_or((false, server.address()), |address| (true, address));
    let anywhere = || PublishUrl::anywhere(is_secure, address.port(), &config.application).ok();
    config.public_url.clone().or_else(|| anywhere().map(|url| url.to_string()))
}

/// An ingest node: its listener is bound, nothing runs yet.
pub struct Ingest {
    server: Server,
    config: Config,
    context: node::Context,
    ready: node::ops::ReadyFlag,
    slate: Option<Arc<pipeline::slate::Picture>>,
    issuers: Arc<Issuers>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("node", &self.context.id)
            .field("rtmp", &self.server.address())
            .finish_non_exhaustive()
    }
}

impl Ingest {
    /// Checks the configuration and binds the listeners.
    ///
    /// # Errors
    /// When a value is out of range, no control node is configured, the slate's picture cannot be shown, an issuer is not valid, or the
    /// address is taken; names which.
    pub async fn load(mut config: Config, context: node::Context) -> Result<Self> {
        config.check()?;
        if let Some(url) = &mut config.public_url {
            *url = with_host_name(url)?;
        }
        anyhow::ensure!(
            !config.control.is_empty(),
            "no control node is configured, and nothing else says where one is: \
             write control = [\"https://HOST:PORT\"], where HOST is one of its certificate's names"
        );
        let (named, clock) = (config.clone(), context.clock);
        let read = move || anyhow::Ok((named.slate()?.map(Arc::new), named.issuers(clock)?));
        let (slate, issuers) = tokio::task::spawn_blocking(read).await??;
        node::ops::describe(crate::metrics::HELP);
        node::ops::describe(issuers::METRICS);
        let server = Server::bind(&config, &context).await?;
        let ready = context.ops.ready(context.id.as_str());
        Ok(Self { server, config, context, ready, slate, issuers })
    }

    /// Where RTMP is served; for port 0, with the port that the system chose.
    pub fn rtmp_address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where RTMP over TLS is served, if it is.
    pub fn rtmps_address(&self) -> Option<SocketAddr> {
        self.server.secure_address()
    }

    /// Serves until `shutdown`. Then it closes its publishers, and seals and pushes what was encoded. The logs stay open: a publisher
    /// that comes back within the grace, here after a restart or at another ingest, continues its stream.
    ///
    /// # Errors
    /// When the root key or the sealing key cannot be read, or the bus is closed.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let Self { server, config, context, ready, slate, issuers } = self;
        // Whatever ends one part of this node ends all of it.
        let shutdown = shutdown.child_token();
        let presence = node::presence::spawn(&context, node::presence::PresenceParts::default, shutdown.clone());
        let clients = Clients::new(Arc::clone(&context.identity), Role::Broadcast);
        let nodes = Nodes::start(&context, shutdown.clone()).await?;
        let root = root_key(&config.root_key)?;
        let log = Log::open(&context.data.join("metadata.db"), &context, root).await?;
        let authority = Authority::load(&context, Arc::clone(&log), &config.control)?;
        let public_url = public_url(&config, &server);
        let membership = Membership {
            log: Arc::clone(&log),
            node: context.clone(),
            cluster: nodes.cluster().clone(),
            control: config.control.clone(),
            report: Report::new(public_url),
            rules: Rules { part_target_ms: Some(config.part_target_ms), target_duration_s: None },
        };
        let (keyring, token_issuers) = (Arc::clone(&authority), Arc::clone(&issuers));
        token_issuers.take(log.look(|view| known_issuers(&view)));
        let obey = move |log: &Arc<Log>| {
            keyring.take_rights(log.look(|view| view.rights()));
            token_issuers.take(log.look(|view| known_issuers(&view)));
            std::future::ready(())
        };
        let membership = Box::pin(membership.run(obey, shutdown.clone()));
        let heads = Heads::new(&context.data, clients.clone(), nodes.clone())?;
        let links = Links { context: context.clone(), clients, nodes, replicas: config.owners };
        let (targets, board) = (config.targets(), StatusBoard::default());
        let patience = Patience { grace: config.reconnect_grace(), takeover_silence: config.takeover_silence() };
        let handles = Arc::new(Handles {
            context: context.clone(),
            targets,
            pipeline: pipeline::Config { part_target: targets.part, ..config.pipeline.clone() },
            authority: Arc::clone(&authority),
            heads,
            links,
            slate,
            thumbnails: Thumbnailer::start()
                .inspect_err(|error| tracing::warn!(%error, "streams have no thumbnails"))
                .ok(),
            board: board.clone(),
            shutdown: shutdown.clone(),
        });
        let drive: Drive = Box::new(move |opened| Box::pin(drive(Arc::clone(&handles), opened)));
        let known = (Arc::clone(&authority), Arc::clone(&issuers));
        let hub = Hub::new(known, (context.id.clone(), context.clock), patience, drive, shutdown.clone());
        let (standing, keys) = (Arc::clone(&log), Arc::clone(&issuers));
        context.ops.status(context.id.as_str(), move || {
            let mut status = board.json();
            status["metadata"] = serde_json::json!(standing.standing());
            status["issuers"] = keys.status();
            status
        });
        let (served, granted, _, _, (), member, ()) = tokio::join!(
            async {
                server.run(Arc::clone(&hub), shutdown.clone()).await;
                hub.finish().await;
            },
            authority.run(ready, shutdown.clone()),
            shutdown.run_until_cancelled(hub.follow_credentials()),
            shutdown.run_until_cancelled(follow_tenants(&hub, &context)),
            issuers.run(shutdown.clone()),
            async {
                let ended = membership.await;
                // A node that the cluster does not take ends.
                shutdown.cancel();
                ended
            },
            shutdown.cancelled(),
        );
        let () = served;
        // The task announces that this node is offline; the runtime has reported any panic in it.
        let _ = presence.await;
        granted.and(member)
    }
}

/// The issuers of the metadata log.
fn known_issuers(view: &metadata::View<'_>) -> Vec<Known> {
    let read = |row: &metadata::TokenIssuer| Known::read(&row.id, row.tenant.as_deref(), &row.document);
    view.token_issuers().filter_map(read).collect()
}

async fn follow_tenants(hub: &Hub, context: &node::Context) {
    if let Err(error) = hub.follow_tenants(context).await {
        tracing::error!(%error, "other ingests' publishers are not heard of: quotas count those of this one alone");
    }
}

fn root_key(path: &Path) -> Result<RootPublicKey> {
    let anchor = node::files::read_bounded(path)?;
    RootPublicKey::from_bytes(&anchor).with_context(|| format!("{} is not a root public key", path.display()))
}
