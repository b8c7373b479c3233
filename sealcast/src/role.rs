//! `sealcast ingest|broadcast|loadbalancer|control`: one role in a process of its own.

use std::path::Path;

use anyhow::{Context as _, ensure};
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
use crate::certs::MEMBERS_FILE;
use crate::certs::claim::{Claim, claim};
use crate::cli::{Common, ControlFlags, IngestFlags, RoleFlags, SourceFlags};
use crate::ready::{BroadcastNode, Ready, SetUpLink, url};
use crate::{public, settings, signals, up};

/// Runs the role until Ctrl-C, SIGTERM, or a failure.
///
/// # Errors
/// When the configuration is not valid or a port is taken; else the error that ended the role.
pub(crate) async fn run(role: Role, flags: &RoleFlags) -> anyhow::Result<()> {
    run_with(role, settings::for_role(flags)?, &flags.common).await
}

/// The same for an ingest, which has flags of its own.
///
/// # Errors
/// As [`run`].
pub(crate) async fn ingest(flags: &IngestFlags) -> anyhow::Result<()> {
    let mut settings = settings::for_role(&flags.role)?;
    if flags.public_url.is_some() {
        settings.role.ingest.public_url.clone_from(&flags.public_url);
    }
    run_with(Role::Ingest, settings, &flags.role.common).await
}

/// The same for control, which has flags of its own.
///
/// # Errors
/// As [`run`].
pub(crate) async fn control(flags: &ControlFlags) -> anyhow::Result<()> {
    let mut settings = settings::for_role(&flags.role)?;
    if flags.grpc_listen.is_some() {
        settings.role.control.grpc_listen = flags.grpc_listen;
    }
    run_with(Role::Control, settings, &flags.role.common).await
}

async fn run_with(role: Role, mut settings: settings::File, common: &Common) -> anyhow::Result<()> {
    up::start_logging(common.log_format, &common.log)?;
    let _claim = take_identity(role, &mut settings)?;
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
    let mut loader = Loader { settings: &settings, ready: &mut ready, parts: &mut parts, shutdown: &shutdown };
    loader.load(role, context).await?;

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

/// Claims an identity, if `node.identities` is set, and writes it to the settings.
fn take_identity(role: Role, settings: &mut settings::File) -> anyhow::Result<Option<Claim>> {
    let Some(directory) = &settings.node.identities else { return Ok(None) };
    let claim = claim(directory, &settings.data, role, settings.node.id.as_ref())?;
    tracing::info!(%role, node = %claim.id, "identity taken");
    let (node, bus) = (&mut settings.node, &mut settings.bus);
    node.id = Some(claim.id.clone());
    node.ca = Some(claim.identity.ca.clone());
    node.certificate = Some(claim.identity.certificate.clone());
    node.private_key = Some(claim.identity.key.clone());
    bus.username = Some(claim.id.to_string());
    bus.password_file = Some(claim.password_file.clone());
    ensure!(
        claim.broker_ca.exists() || !bus.urls.iter().any(|url| url.starts_with("mqtts://")),
        "{} is missing: brokers have an authority of their own. Run `sealcast certs renew` where the authority is, and give this \
         machine its folder again, and each broker its new certificate",
        claim.broker_ca.display()
    );
    bus.ca = Some(claim.broker_ca.clone());
    Ok(Some(claim))
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

/// Binds a role, adds its task to `parts`, and its addresses to `ready`.
struct Loader<'a> {
    settings: &'a settings::File,
    ready: &'a mut Ready,
    parts: &'a mut JoinSet<anyhow::Result<()>>,
    shutdown: &'a CancellationToken,
}

impl Loader<'_> {
    async fn load(&mut self, role: Role, context: node::Context) -> anyhow::Result<()> {
        match role {
            Role::Ingest => self.ingest(context).await,
            Role::Broadcast => self.broadcast(context).await,
            Role::LoadBalancer => self.balancer(context).await,
            Role::Control => self.control(context).await,
        }
    }

    async fn ingest(&mut self, context: node::Context) -> anyhow::Result<()> {
        let settings = self.settings;
        let mut config = settings.role.ingest.clone();
        config.rtmp_listen = settings.rtmp_listen;
        config.rtmps_listen = settings.rtmps_listen;
        config.control.clone_from(&settings.control);
        config.root_key.clone_from(&settings.root_key);
        let application = config.application.clone();
        public::show(settings, &context, None)?;
        let ingest = Ingest::load(config, context).await?;
        self.ready.rtmps = ingest.rtmps_address().map(|address| format!("{}/{application}", url("rtmps", address)));
        self.ready.rtmp = Some(format!("{}/{application}", url("rtmp", ingest.rtmp_address())));
        self.parts.spawn(ingest.run(self.shutdown.clone()));
        Ok(())
    }

    async fn broadcast(&mut self, context: node::Context) -> anyhow::Result<()> {
        self.show_to_viewers(&context)?;
        let mut config = self.settings.role.broadcast.clone();
        config.root_key.clone_from(&self.settings.root_key);
        config.control.clone_from(&self.settings.control);
        for url in [&mut config.https_url, &mut config.data_url, &mut config.public_url].into_iter().flatten() {
            *url = node::config::with_host_name(url)?;
        }
        let id = context.id.to_string();
        let broadcast = Broadcast::load(config, context).await?;
        self.ready.broadcast.push(BroadcastNode { id, https: url("https", broadcast.https_address()) });
        self.parts.spawn(broadcast.run(self.shutdown.clone()));
        Ok(())
    }

    async fn balancer(&mut self, context: node::Context) -> anyhow::Result<()> {
        self.show_to_viewers(&context)?;
        let mut config = self.settings.role.loadbalancer.clone();
        config.https_listen = self.settings.https_listen;
        config.root_key.clone_from(&self.settings.root_key);
        config.control.clone_from(&self.settings.control);
        if config.sticky_key.is_none() {
            // The key that all balancers share, if there is one.
            let shared = self.settings.node.identities.as_ref().map(|directory| directory.join("sticky.key"));
            config.sticky_key = shared.filter(|path| path.exists());
        }
        let balancer = LoadBalancer::load(config, context).await?;
        self.ready.https = Some(url("https", balancer.https_address()));
        self.parts.spawn(balancer.run(self.shutdown.clone()));
        Ok(())
    }

    async fn control(&mut self, context: node::Context) -> anyhow::Result<()> {
        let settings = self.settings;
        let mut config = settings.role.control.clone();
        config.streams.extend(settings.streams.iter().cloned());
        config.part_target_ms = settings.part_target_ms;
        config.target_duration_s = settings.role.broadcast.target_duration_s;
        if config.members.is_empty() {
            // The list that `certs cluster` makes, if there is one.
            config.members.extend(settings.node.identities.as_ref().map(|directory| directory.join(MEMBERS_FILE)));
        }
        let control = Control::load(config, context).await?;
        if let Some(link) = control.set_up_link() {
            // Not into the log, which others read.
            let way = "where viewers reach the cluster, open this within 15 minutes to become its operator";
            println!("{way}: https://…{}\nlater: sealcast member setup-link", link.expose());
            self.ready.set_up = Some(SetUpLink(link.into_inner()));
        }
        self.ready.grpc = control.grpc_address().map(|address| url("https", address));
        publish_root_key(&control.root_public_key_path(), &settings.root_key)?;
        let identity = IdentityPaths {
            certificate: settings.node.certificate.clone().context("was there to start with")?,
            key: settings.node.private_key.clone().context("was there to start with")?,
            ca: settings.node.ca.clone().context("was there to start with")?,
        };
        let (cluster, root_key) = (Some(settings.cluster.to_string()), Some(control.root_key_path()));
        let (control_url, bus) = (url("https", control.data_address()), settings.bus.urls.clone());
        AdminFile { control: control_url, identity, cluster, root_key, bus }.write(&settings.data)?;
        self.parts.spawn(control.run(self.shutdown.clone()));
        Ok(())
    }

    /// Sets the public certificate that viewers see, and runs the ACME client that obtains it, if one does.
    fn show_to_viewers(&mut self, context: &node::Context) -> anyhow::Result<()> {
        if let Some(acme) = public::load(self.settings, context)? {
            let stopping = self.shutdown.clone();
            self.parts.spawn(async move {
                acme.run(stopping).await;
                Ok(())
            });
        }
        Ok(())
    }
}

/// Copies the root public key to where other nodes look for it (`root_key`), if that directory exists.
fn publish_root_key(made: &Path, wanted: &Path) -> anyhow::Result<()> {
    let is_elsewhere = wanted.parent().is_some_and(|parent| !parent.as_os_str().is_empty() && parent.is_dir());
    if !is_elsewhere || made == wanted {
        return Ok(());
    }
    let key = node::files::read_bounded(made)?;
    if node::files::read_bounded(wanted).ok().as_ref() == Some(&key) {
        return Ok(());
    }
    anyhow::ensure!(
        !wanted.exists(),
        "{} is another root key than this node's, {}: remove it if it is of no use any more",
        wanted.display(),
        made.display()
    );
    node::files::atomic_write(wanted, &key, node::files::MODE_PUBLIC)
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
