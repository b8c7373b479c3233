//! `sealcast ingest|broadcast|loadbalancer|control`: one role in a process of its own.

use anyhow::Context as _;
use broadcast::Broadcast;
use control::Control;
use ingest::Ingest;
use loadbalancer::LoadBalancer;
use media::NodeId;
use messages::Role;
use node::CancellationToken;
use node::ops::Ops;
use node::tls::IdentityPaths;
use tokio::task::JoinSet;

use crate::admin::AdminFile;
use crate::cli::{RoleFlags, SourceFlags};
use crate::ready::{BroadcastNode, Ready, url};
use crate::{settings, signals, up};

/// Runs the role until Ctrl-C, SIGTERM, or a failure.
///
/// # Errors
/// A configuration that makes no sense, a taken port, or what ended the role.
pub(crate) async fn run(role: Role, flags: &RoleFlags) -> anyhow::Result<()> {
    let settings = settings::for_role(flags)?;
    up::start_logging(flags.common.log_format, &flags.common.log)?;
    let shutdown = signals::shutdown()?;
    let bus_shutdown = CancellationToken::new();
    let (ops, context) = context(role, &settings, bus_shutdown.clone()).await?;
    let ops_server = ops.load(settings.ops_listen).await?;

    let mut ready = Ready::new();
    ready.ops = Some(url("http", ops_server.address()));
    ready.ca = settings.node.ca.as_ref().map(|path| path.display().to_string());
    ready.mqtt.clone_from(&settings.bus.urls);
    let mut parts = JoinSet::new();
    parts.spawn(ops_server.run(shutdown.clone()));
    load(role, &settings, context, &mut ready, &mut parts, &shutdown).await?;

    let (ready_file, stopping) = (settings.ready_file.clone(), shutdown.clone());
    parts.spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = ops.became_ready() => {}
        }
        tracing::info!(%role, "ready");
        if let Some(path) = ready_file {
            ready.write(&path)?;
        }
        stopping.cancelled().await;
        Ok(())
    });
    let outcome = signals::join(parts, &shutdown).await;
    bus_shutdown.cancel();
    outcome
}

async fn context(
    role: Role,
    settings: &settings::File,
    bus_shutdown: CancellationToken,
) -> anyhow::Result<(std::sync::Arc<Ops>, node::Context)> {
    let ops = Ops::new();
    let id: NodeId = settings.node.id.clone().context("the node's name was checked")?;
    let missing = "under [node] in the configuration; `sealcast certs` makes one";
    let setup = node::Setup {
        data: settings.data.join(id.as_str()),
        id,
        role,
        cluster: settings.cluster.clone(),
        bus: settings.bus.clone(),
        identity: IdentityPaths {
            certificate: settings.node.certificate.clone().with_context(|| format!("no certificate {missing}"))?,
            key: settings.node.private_key.clone().with_context(|| format!("no private_key {missing}"))?,
            ca: settings.node.ca.clone().with_context(|| format!("no ca {missing}"))?,
        },
        ops: std::sync::Arc::clone(&ops),
    };
    Ok((ops, setup.start(bus_shutdown).await?))
}

/// Binds the role and sets it to run.
async fn load(
    role: Role,
    settings: &settings::File,
    context: node::Context,
    ready: &mut Ready,
    parts: &mut JoinSet<anyhow::Result<()>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    match role {
        Role::Ingest => {
            let mut config = settings.role.ingest.clone();
            config.rtmp_listen = settings.rtmp_listen;
            config.control.clone_from(&settings.control);
            config.root_key.clone_from(&settings.root_key);
            let application = config.application.clone();
            let ingest = Ingest::load(config, context).await?;
            ready.rtmp = Some(format!("{}/{application}", url("rtmp", ingest.rtmp_address())));
            parts.spawn(ingest.run(shutdown.clone()));
        }
        Role::Broadcast => {
            let mut config = settings.role.broadcast.clone();
            config.root_key.clone_from(&settings.root_key);
            let id = context.id.to_string();
            let broadcast = Broadcast::load(config, context).await?;
            ready.broadcast.push(BroadcastNode { id, https: url("https", broadcast.https_address()) });
            parts.spawn(broadcast.run(shutdown.clone()));
        }
        Role::LoadBalancer => {
            let mut config = settings.role.loadbalancer.clone();
            config.https_listen = settings.https_listen;
            let balancer = LoadBalancer::load(config, context).await?;
            ready.https = Some(url("https", balancer.https_address()));
            parts.spawn(balancer.run(shutdown.clone()));
        }
        Role::Control => {
            let mut config = settings.role.control.clone();
            config.streams.extend(settings.streams.iter().cloned());
            let control = Control::load(config, context).await?;
            let identity = IdentityPaths {
                certificate: settings.node.certificate.clone().context("was there to start with")?,
                key: settings.node.private_key.clone().context("was there to start with")?,
                ca: settings.node.ca.clone().context("was there to start with")?,
            };
            AdminFile { control: url("https", control.data_address()), identity }.write(&settings.data)?;
            parts.spawn(control.run(shutdown.clone()));
        }
    }
    Ok(())
}

/// `sealcast source`: the test pattern, as `source` itself runs it.
///
/// # Errors
/// When the configuration is not valid or the encoder cannot be opened.
pub(crate) async fn source(flags: &SourceFlags) -> anyhow::Result<()> {
    up::start_logging(crate::cli::LogFormat::Text, "info")?;
    let shutdown = signals::shutdown()?;
    source::Source::load(flags.source.clone().try_into()?)?.run(shutdown).await
}
