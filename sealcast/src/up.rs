//! `sealcast up`: every role in one process. Parse, check, bind, run, drain.
//!
//! The roles speak to each other exactly as in a cluster of many machines: over MQTT, and over HTTP with mutual TLS.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use broadcast::Broadcast;
use bus::broker::{Access, EmbeddedBroker, Rules, Streamer, User};
use control::Control;
use ingest::Ingest;
use loadbalancer::LoadBalancer;
use media::{NodeId, StreamId};
use messages::Role;
use node::CancellationToken;
use node::ops::{Ops, OpsServer};
use node::tls::{Authority, BrokerCertificate, IdentityPaths};
use replica::Log;
use tokio::task::JoinSet;

use crate::admin::AdminFile;
use crate::certs::MEMBERS_FILE;
use crate::cli::{LogFormat, UpFlags};
use crate::ready::{BroadcastNode, Ready, SetUpLink, StreamKey, url};
use crate::{public, settings, signals};

/// The start fails unless everything serves within this time. The slowest role is the ingest, which waits for a grant over loopback.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often the password of a streamer is looked for that control knows already.
const PASSWORD_LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// User of the embedded broker that may only subscribe, for `mosquitto_sub` and monitoring.
const OBSERVER: &str = "observer";

/// Runs until Ctrl-C, SIGTERM, or a part fails.
///
/// # Errors
/// When the configuration is not valid, a port is taken or the data directory is in use; else the first error of a part.
pub(crate) async fn run(flags: &UpFlags) -> anyhow::Result<()> {
    let settings = settings::for_up(flags)?;
    start_logging(flags.common.log_format, &flags.common.log)?;
    let shutdown = signals::shutdown()?;
    let _lock = lock(&settings.data)?;
    let station = Station::load(&settings).await?;
    station.run(&settings, shutdown).await
}

/// Starts logging as the flags say.
///
/// # Errors
/// When the filter does not parse.
pub(crate) fn start_logging(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let format = match format {
        LogFormat::Text => node::logging::Format::Text,
        LogFormat::Json => node::logging::Format::Json,
    };
    node::logging::init(format, filter)
}

/// Locks the data directory, so that no second process uses it.
fn lock(data: &Path) -> anyhow::Result<File> {
    node::files::create_directory(data).with_context(|| format!("data directory {}", data.display()))?;
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("the data directory {} is in use by another sealcast: stop that, or give --data DIR", data.display())
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// All roles, the broker and the ops plane, bound and ready to run.
struct Station {
    broker: EmbeddedBroker,
    ops: Arc<Ops>,
    ops_server: OpsServer,
    control: Control,
    ingest: Ingest,
    broadcast: Vec<Broadcast>,
    balancer: LoadBalancer,
    acme: Option<node::acme::Acme>,
    source: Option<source::Source>,
    ready: Ready,
    admin: AdminFile,
    bus_shutdown: CancellationToken,
}

/// The names of all nodes.
struct Names {
    control: NodeId,
    ingest: NodeId,
    balancer: NodeId,
    broadcast: Vec<NodeId>,
}

impl Names {
    fn new(broadcast: u16) -> Self {
        let id = |name: &str| NodeId::new(name).expect("a valid name");
        let (control, ingest, balancer) = (id("control"), id("ingest"), id("loadbalancer"));
        Self { control, ingest, balancer, broadcast: (1..=broadcast).map(|n| id(&format!("b{n}"))).collect() }
    }

    fn nodes(&self) -> impl Iterator<Item = (&NodeId, Role)> {
        let nodes =
            [(&self.control, Role::Control), (&self.ingest, Role::Ingest), (&self.balancer, Role::LoadBalancer)];
        nodes.into_iter().chain(self.broadcast.iter().map(|node| (node, Role::Broadcast)))
    }

    /// The users of the broker: all nodes, and the observer.
    fn users(&self) -> impl Iterator<Item = (&str, Access)> {
        self.nodes().map(|(node, role)| (node.as_str(), role.into())).chain([(OBSERVER, Access::Observer)])
    }
}

/// A user of the broker. Its password survives restarts, so that monitoring stays logged in.
fn user(settings: &settings::File, name: &str, access: Access) -> anyhow::Result<User> {
    let path = password_path(settings, name);
    let password = if path.exists() {
        String::from_utf8(node::files::read_bounded(&path)?)
            .with_context(|| format!("{} is not text", path.display()))?
            .trim()
            .to_owned()
    } else {
        let password = hex::encode(rand::random::<[u8; 16]>());
        node::files::create_private_directory(&settings.data.join("bus"))?;
        node::files::atomic_write(&path, password.as_bytes(), 0o600)?;
        password
    };
    Ok(User { name: name.to_owned(), password, access })
}

fn password_path(settings: &settings::File, user: &str) -> PathBuf {
    settings.data.join("bus").join(format!("{user}.password"))
}

/// Tells the broker which nodes are revoked, and which streamers there are, now and whenever the metadata log changes, until `shutdown`.
/// A streamer's password is where `sealcast streamer add` puts it.
async fn follow_log(log: Arc<Log>, rules: Rules, data: PathBuf, shutdown: CancellationToken) {
    let mut changes = log.changes();
    loop {
        let (revoked, guests) = log.look(|view| {
            let mut guests: BTreeMap<NodeId, Vec<StreamId>> = view
                .members()
                .filter(|member| member.is_guest)
                .map(|member| (member.node.clone(), Vec::new()))
                .collect();
            for stream in view.streams() {
                let owner = stream.pool.strip_prefix("streamer/").and_then(|owner| NodeId::new(owner).ok());
                if let Some(streams) = owner.and_then(|owner| guests.get_mut(&owner)) {
                    streams.push(stream.name.clone());
                }
            }
            (view.revoked_nodes(), guests)
        });
        let streamer = |(name, streams): (NodeId, Vec<StreamId>)| {
            let path = data.join("bus").join(format!("{name}.password"));
            let password = String::from_utf8(node::files::read_bounded(&path).ok()?).ok()?.trim().to_owned();
            Some(Streamer { name: name.to_string(), password, streams })
        };
        let missing = guests.len();
        let streamers: Vec<Streamer> = guests.into_iter().filter_map(streamer).collect();
        let is_waiting = streamers.len() < missing;
        rules.set_streamers(&streamers);
        rules.set_revoked(&revoked);
        tokio::select! {
            () = shutdown.cancelled() => return,
            Ok(()) = changes.changed() => {}
            // Control knows a streamer before its password is written.
            () = tokio::time::sleep(PASSWORD_LOOK_INTERVAL), if is_waiting => {}
        }
    }
}

/// Binds the embedded broker. With TLS, its certificate comes from the brokers' authority.
async fn load_broker(
    settings: &settings::File,
    users: Vec<User>,
    authority: &Authority,
    shutdown: &CancellationToken,
) -> anyhow::Result<EmbeddedBroker> {
    let config = bus::broker::Config { listen: settings.mqtt_listen, users, ..bus::broker::Config::default() };
    let broker = EmbeddedBroker::load(config).await?;
    if !settings.mqtt_tls {
        if !broker.address().ip().is_loopback() {
            let listen = broker.address();
            tracing::warn!(%listen, "the broker is open to other machines without TLS, and their passwords can be read on the way: set mqtt_tls = true");
        }
        return Ok(broker);
    }
    let name = NodeId::new("broker").expect("a valid name");
    let paths = authority.issue_in(&settings.data.join("certs"), &name, None, &settings.public_names)?;
    let certificate = BrokerCertificate::load(&paths)?;
    tokio::spawn(Arc::clone(&certificate).follow(shutdown.clone()));
    Ok(broker.with_tls(certificate.server()))
}

/// Loads the nodes one after the other, and notes their addresses.
struct Builder<'a> {
    settings: &'a settings::File,
    names: Names,
    authority: Authority,
    brokers: Authority,
    ops: Arc<Ops>,
    bus_shutdown: CancellationToken,
    /// Addresses and stream keys of the parts that are loaded.
    ready: Ready,
}

impl Builder<'_> {
    /// Makes the identity of a node.
    fn identity(&self, id: &NodeId, role: Role) -> anyhow::Result<IdentityPaths> {
        let is_met_by_strangers = matches!(role, Role::LoadBalancer | Role::Ingest);
        let names: &[String] = if is_met_by_strangers { &self.settings.public_names } else { &[] };
        self.authority.issue(id, role, names)
    }

    /// Writes the file that says to control which nodes belong to the cluster: all of this process.
    fn list_members(&self) -> anyhow::Result<PathBuf> {
        let mut list = Vec::new();
        for (id, role) in self.names.nodes() {
            list.extend(node::files::read_bounded(&self.identity(id, role)?.certificate)?);
        }
        let path = self.settings.data.join("certs").join(MEMBERS_FILE);
        node::files::atomic_write(&path, &list, node::files::MODE_PUBLIC)?;
        Ok(path)
    }

    async fn context(&self, id: &NodeId, role: Role) -> anyhow::Result<node::Context> {
        let identity = self.identity(id, role)?;
        let bus = bus::Config {
            urls: self.ready.mqtt.clone(),
            ca: Some(self.brokers.ca_path()),
            username: Some(id.to_string()),
            password_file: Some(password_path(self.settings, id.as_str())),
            // The broker is in this process, whatever its address is.
            plaintext: true,
            ..bus::Config::default()
        };
        let setup = node::Setup {
            id: id.clone(),
            role,
            cluster: self.settings.cluster.clone(),
            data: self.settings.data.join(id.as_str()),
            bus,
            identity,
            ops: Arc::clone(&self.ops),
        };
        setup.start(self.bus_shutdown.clone()).await
    }

    /// Loads control with the configured streams, and with the stream of the test picture. Their keys are shown at each start, so those
    /// that nobody has configured are kept in files.
    async fn control(&mut self) -> anyhow::Result<Control> {
        let settings = self.settings;
        let mut config = settings.role.control.clone();
        config.streams.extend(settings.streams.iter().cloned());
        config.part_target_ms = settings.part_target_ms;
        config.target_duration_s = settings.role.broadcast.target_duration_s;
        config.members = vec![self.list_members()?];
        if !settings.no_source && !config.streams.iter().any(|s| s.name == settings.test_source.stream) {
            let name = settings.test_source.stream.clone();
            config.streams.push(control::StreamConfig { name, key: None, pool: None, key_file: None });
        }
        for stream in config.streams.iter_mut().filter(|stream| stream.key.is_none()) {
            stream.key_file = Some(settings.data.join("stream-keys").join(format!("{}.key", stream.name)));
        }
        let control = Control::load(config, self.context(&self.names.control, Role::Control).await?).await?;
        self.ready.grpc = control.grpc_address().map(|address| url("https", address));
        self.ready.set_up = control.set_up_link().map(|link| SetUpLink(link.into_inner()));
        let keys = control.stream_keys().iter();
        self.ready.streams =
            keys.map(|(name, key)| StreamKey { name: name.to_string(), key: key.expose().clone() }).collect();
        Ok(control)
    }

    /// How administration from this machine reaches control.
    fn admin(&self, control: &Control) -> anyhow::Result<AdminFile> {
        let identity = self.identity(&self.names.control, Role::Control)?;
        let (cluster, root_key) = (Some(self.settings.cluster.to_string()), Some(control.root_key_path()));
        let (control_url, bus) = (url("https", control.data_address()), self.ready.mqtt.clone());
        Ok(AdminFile { control: control_url, identity, cluster, root_key, bus })
    }

    async fn broadcast(&mut self, control: &Control) -> anyhow::Result<Vec<Broadcast>> {
        let mut nodes = Vec::with_capacity(self.names.broadcast.len());
        for id in &self.names.broadcast {
            let mut config = self.settings.role.broadcast.clone();
            config.root_key = control.root_public_key_path();
            config.control = vec![url("https", control.data_address())];
            let node = Broadcast::load(config, self.context(id, Role::Broadcast).await?).await?;
            self.ready.broadcast.push(BroadcastNode { id: id.to_string(), https: url("https", node.https_address()) });
            nodes.push(node);
        }
        Ok(nodes)
    }

    async fn ingest(&mut self, control: &Control) -> anyhow::Result<Ingest> {
        let settings = self.settings;
        let mut config = settings.role.ingest.clone();
        let application = config.application.clone();
        config.rtmp_listen = settings.rtmp_listen;
        config.rtmps_listen = settings.rtmps_listen;
        config.owners = config.owners.at_most(self.names.broadcast.len());
        config.control = vec![url("https", control.data_address())];
        config.root_key = control.root_public_key_path();
        let context = self.context(&self.names.ingest, Role::Ingest).await?;
        public::show(settings, &context, Some(&settings.data.join(self.names.balancer.as_str())))?;
        let ingest = Ingest::load(config, context).await?;
        let address = |scheme, address| format!("{}/{application}", url(scheme, address));
        self.ready.rtmp = Some(address("rtmp", ingest.rtmp_address()));
        self.ready.rtmps = ingest.rtmps_address().map(|at| address("rtmps", at));
        Ok(ingest)
    }

    /// Loads the balancer, and the ACME client that obtains its public certificate.
    async fn balancer(&mut self, control: &Control) -> anyhow::Result<(LoadBalancer, Option<node::acme::Acme>)> {
        let mut config = self.settings.role.loadbalancer.clone();
        config.https_listen = self.settings.https_listen;
        config.root_key = control.root_public_key_path();
        config.control = vec![url("https", control.data_address())];
        let context = self.context(&self.names.balancer, Role::LoadBalancer).await?;
        let acme = public::load(self.settings, &context)?;
        let balancer = LoadBalancer::load(config, context).await?;
        let https = url("https", balancer.https_address());
        if let Some(SetUpLink(link)) = &mut self.ready.set_up {
            link.insert_str(0, &https);
        }
        self.ready.https = Some(https);
        Ok((balancer, acme))
    }
}

impl Station {
    /// Makes missing keys and certificates, and binds everything. Nothing serves yet.
    async fn load(settings: &settings::File) -> anyhow::Result<Self> {
        let names = Names::new(settings.broadcast);
        let ops = Ops::new();
        let ops_server = ops.load(settings.ops_listen).await?;
        let certs = settings.data.join("certs");
        let authority = Authority::ensure(&certs, &node::clock::Clock::new())?;
        let brokers = Authority::ensure_for_brokers(&certs, &node::clock::Clock::new())?;
        let bus_shutdown = CancellationToken::new();
        let users = names.users().map(|(name, access)| user(settings, name, access)).collect::<anyhow::Result<_>>()?;
        let broker = load_broker(settings, users, &brokers, &bus_shutdown).await?;
        let ready = Ready {
            mqtt: vec![url(if settings.mqtt_tls { "mqtts" } else { "mqtt" }, broker.address())],
            ops: Some(url("http", ops_server.address())),
            ca: Some(authority.ca_path().display().to_string()),
            ..Ready::new()
        };

        let mut nodes = Builder { settings, names, authority, brokers, ops: Arc::clone(&ops), bus_shutdown, ready };
        let control = nodes.control().await?;
        let broadcast = nodes.broadcast(&control).await?;
        let ingest = nodes.ingest(&control).await?;
        let (balancer, acme) = nodes.balancer(&control).await?;
        let source = (!settings.no_source).then(|| test_source(settings, &nodes.ready)).transpose()?;
        let admin = nodes.admin(&control)?;
        let Builder { ready, bus_shutdown, .. } = nodes;
        Ok(Self {
            broker,
            ops,
            ops_server,
            control,
            ingest,
            broadcast,
            balancer,
            acme,
            source,
            ready,
            admin,
            bus_shutdown,
        })
    }

    /// Runs all parts until `shutdown`. The broker ends last, so that the last messages of the others reach it.
    async fn run(self, settings: &settings::File, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            broker,
            ops,
            ops_server,
            control,
            ingest,
            broadcast,
            balancer,
            acme,
            source,
            ready,
            admin,
            bus_shutdown,
        } = self;
        let broker_shutdown = CancellationToken::new();
        let (log, rules) = (control.log(), broker.rules());
        let following = follow_log(log, rules, settings.data.clone(), broker_shutdown.clone());
        tokio::spawn(following);
        let broker = tokio::spawn(broker.run(broker_shutdown.clone()));

        // The ingest ends first, so that it can still push its last row: `downstream` is cancelled when the ingest has ended.
        let downstream = CancellationToken::new();
        let ingest_ended = downstream.clone().drop_guard();
        let mut parts = JoinSet::new();
        let (stop, publishing) = (shutdown.clone(), source.map(|source| source.run(shutdown.clone())));
        parts.spawn(async move {
            let _ended = ingest_ended;
            ingest.run(stop).await
        });
        if let Some(publishing) = publishing {
            parts.spawn(publishing);
        }
        parts.spawn(ops_server.run(downstream.clone()));
        parts.spawn(control.run(downstream.clone()));
        for node in broadcast {
            parts.spawn(node.run(downstream.clone()));
        }
        if let Some(acme) = acme {
            let stop = downstream.clone();
            parts.spawn(async move {
                acme.run(stop).await;
                Ok(())
            });
        }
        parts.spawn(balancer.run(downstream));
        admin.write(&settings.data)?;
        parts.spawn(announce(ops, settings.clone(), ready, shutdown.clone()));

        let outcome = signals::join(parts, &shutdown).await;
        bus_shutdown.cancel();
        broker_shutdown.cancel();
        let ended = broker.await.context("the broker panicked").flatten();
        outcome.and(ended)
    }
}

fn test_source(settings: &settings::File, ready: &Ready) -> anyhow::Result<source::Source> {
    let test = &settings.test_source;
    let key = ready.streams.iter().find(|stream| stream.name == test.stream.as_str());
    let key = key.with_context(|| format!("stream {} has no key", test.stream))?;
    source::Source::load(source::Config {
        url: ready.rtmp.clone().context("the ingest is bound")?,
        key: key.key.clone(),
        width: test.width,
        height: test.height,
        frame_rate: test.frame_rate.into(),
        bit_rate: test.bit_rate,
        grain: test.grain,
        ..source::Config::default()
    })
}

/// Waits until everything serves, then writes the ready file and prints the banner.
async fn announce(
    ops: Arc<Ops>,
    settings: settings::File,
    ready: Ready,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        waited = tokio::time::timeout(READY_WAIT_MAX, ops.became_ready()) => {
            waited.with_context(|| format!("not everything serves after {READY_WAIT_MAX:?}; see the warnings above"))?;
        }
    }
    if let Some(path) = &settings.ready_file {
        ready.write(path)?;
    }
    print!("{}", banner(&ready, &settings));
    shutdown.cancelled().await;
    Ok(())
}

/// Text that tells where to watch, and what to type into OBS.
fn banner(ready: &Ready, settings: &settings::File) -> String {
    let (https, rtmp) = (ready.https.as_deref().unwrap_or_default(), ready.rtmp.as_deref().unwrap_or_default());
    let ca = ready.ca.as_deref().unwrap_or_default();
    let mut text = format!(
        "\nSealcast is on the air.\n\n  Watch    {https}/\n           The certificate is self-made: accept it in the browser, or trust {ca}\n"
    );
    if let Some(link) = &ready.set_up {
        text.push_str(&format!(
            "  Set up   {}\n           Whoever opens it within 15 minutes is the operator.\n",
            link.0
        ));
    }
    text.push_str(&format!("  OBS      Settings > Stream > Service: Custom\n           Server      {rtmp}\n"));
    if let Some(rtmps) = &ready.rtmps {
        text.push_str(&format!("           or          {rtmps}\n"));
    }
    if ready.streams.is_empty() {
        text.push_str("           Stream key  of a new stream: sealcast stream create NAME\n");
    }
    for stream in &ready.streams {
        let note = if !settings.no_source && stream.name == settings.test_source.stream.as_str() {
            "  (in use by the test picture; `--no-source` frees it)"
        } else {
            ""
        };
        text.push_str(&format!("           Stream key  {}   for {https}/watch/{}{note}\n", stream.key, stream.name));
    }
    text.push_str(&format!("  Status   {}/status\n\n  Ctrl-C stops it.\n\n", ready.ops.as_deref().unwrap_or_default()));
    text
}
