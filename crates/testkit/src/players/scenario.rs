//! The scenario for every player: an encoder that reconnects, a rendition switch, and nodes that are killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;

use super::link::Link;
use super::{Kind, Player, Progress};
use crate::cluster::{Cluster, KEY, STREAM};
use crate::hls::{catches_up, playlist};
use crate::publish::{Clip, clip, publish};
use crate::sealcast::text;

/// Longest time that each step may take beyond the time that it plays.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bandwidth that carries the small rendition with audio, but not the large one, in bits per second.
const NARROW: u64 = 450_000;
/// Heights of the two renditions.
const LARGE: u64 = 360;
const SMALL: u64 = 240;
/// Broadcast nodes.
const NODES: [&str; 2] = ["b1", "b2"];
/// The authority's certificate in the cluster's directory.
const CA: &str = "certs/ca.pem";

/// Durations of the scenario.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Shortest time that each player plays after each event, in seconds.
    pub seconds: f64,
    /// Duration of segments, in seconds. It decides how far from the end players begin, and how much they buffer.
    pub segment_seconds: u32,
}

impl Script {
    /// A ladder of the publisher's 360p, passed through, and a rendition with a fifth of its bit rate.
    fn settings(self) -> String {
        let Self { segment_seconds, .. } = self;
        format!(
            "\n[role.ingest]\nsegment_ms = {segment_seconds}000\n[role.broadcast]\ntarget_duration_s = {segment_seconds}\n\
             [role.ingest.pipeline]\nrungs = [{{ short_side = 360 }}, {{ short_side = 240, kbit_per_second = 200 }}]\n"
        )
    }
}

/// A step that a player passed.
#[derive(Debug)]
pub struct Step {
    pub name: &'static str,
    /// Seconds that it played meanwhile.
    pub played_seconds: f64,
    /// Imperfections meanwhile.
    pub imperfections: u64,
    /// Errors meanwhile.
    pub errors: usize,
}

/// The outcome of one player.
pub struct Verdict {
    pub kind: Kind,
    /// Steps that it passed, in order.
    pub passed: Vec<Step>,
    /// The first step that it failed, and why; later steps were not tried.
    pub broke: Option<String>,
    pub progress: Progress,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, passed, broke, progress } = self;
        write!(f, "{}", kind.name())?;
        for Step { name, played_seconds, imperfections, errors } in passed {
            write!(f, "\n    {name}: {played_seconds:.0} s, {imperfections} stalls or late pictures, {errors} errors")?;
        }
        if let Some(why) = broke {
            write!(f, "\n    broke at {why}")?;
        }
        progress.kinds_of_complaints().iter().try_for_each(|(kind, count)| write!(f, "\n    {count}x {kind}"))
    }
}

/// A player on its way through the steps.
struct Viewer {
    player: Player,
    link: Link,
    base: String,
    ca: PathBuf,
    home: PathBuf,
    passed: Vec<Step>,
    /// Its progress at the end of the last step.
    before: Progress,
    broke: Option<String>,
}

impl Viewer {
    async fn step(&mut self, name: &'static str, seconds: f64) {
        if self.broke.is_some() {
            return;
        }
        let patience = PATIENCE + Duration::from_secs_f64(seconds);
        let mut played = self.player.plays(name, seconds, patience).await;
        if played.is_err() && self.player.progress().cut {
            self.start_again("started again after half a response");
            played = self.player.plays(name, seconds, patience).await;
        }
        match played {
            Ok(()) => self.passes(name),
            Err(why) => self.broke = Some(why),
        }
    }

    fn start_again(&mut self, why: &'static str) {
        let kind = self.player.kind;
        self.player = Player::start(kind, &self.base, STREAM, &self.ca, &self.home);
        self.before = Progress::default();
        self.passes(why);
    }

    fn passes(&mut self, name: &'static str) {
        let (now, before) = (self.player.progress(), &self.before);
        self.passed.push(Step {
            name,
            played_seconds: now.played_seconds - before.played_seconds,
            imperfections: now.imperfections.saturating_sub(before.imperfections),
            errors: now.errors.len().saturating_sub(before.errors.len()),
        });
        self.before = now;
    }

    /// Switches to the small rendition, and back to the large one. A player that takes no command gets a narrow link until the small one is
    /// on the screen, and then a wide link; it may rise later, because some players take minutes for that.
    async fn switch(&mut self, seconds: f64) {
        if self.broke.is_some() || !self.player.kind.adapts() {
            return;
        }
        let told = self.player.choose(SMALL).await;
        if !told {
            self.link.limit(NARROW);
        }
        let down = self.player.until("the small rendition", PATIENCE, |now| now.height == Some(SMALL)).await;
        self.link.limit(0);
        match down {
            Ok(()) => self.passes("switch down"),
            Err(why) => return self.broke = Some(why),
        }
        self.step("played on after it", seconds).await;
        if told && self.player.choose(LARGE).await {
            match self.player.until("the large rendition", PATIENCE, |now| now.height == Some(LARGE)).await {
                Ok(()) => self.passes("switch up"),
                Err(why) => self.broke = Some(why),
            }
        }
    }

    fn verdict(mut self) -> Verdict {
        let progress = self.player.progress();
        if !self.passed.iter().any(|step| step.name == "switch up")
            && self.player.kind.adapts()
            && self.broke.is_none()
            && progress.height == Some(LARGE)
        {
            self.passes("had switched up again");
        }
        Verdict { kind: self.player.kind, passed: self.passed, broke: self.broke, progress }
    }
}

/// Runs a step of all viewers at once.
async fn all(viewers: &mut [Viewer], name: &'static str, seconds: f64) {
    join_all(viewers.iter_mut().map(|viewer| viewer.step(name, seconds))).await;
}

/// Runs the scenario with all players at once, on one cluster of the `sealcast` at `program`.
pub async fn play(program: impl AsRef<Path>, kinds: &[Kind], script: Script) -> Vec<Verdict> {
    let Script { seconds, .. } = script;
    let mut cluster = Cluster::start(program).await;
    cluster.settings = script.settings();
    let _control = cluster.node("control").await;
    let mut nodes = BTreeMap::new();
    for name in NODES {
        nodes.insert(name, cluster.node(name).await);
    }
    let ingest = cluster.node("ingest").await;
    let balancer = cluster.node("lb").await;
    let rtmp = text(&ingest.ready, "rtmp");
    let file = clip(cluster.directory.path(), Clip::default());
    let publisher = publish(&file, &rtmp, KEY);
    let base = text(&balancer.ready, "https");
    playlist(&cluster.http, &base, STREAM, "audio", 3).await;

    let mut viewers = Vec::new();
    let target: SocketAddr = base.trim_start_matches("https://").parse().expect("an address");
    for kind in kinds {
        let link = Link::open(target).await;
        let base = format!("https://{}", link.address);
        let (ca, home) = (cluster.path(CA), cluster.path(kind.name()));
        let player = Player::start(*kind, &base, STREAM, &ca, &home);
        viewers.push(Viewer {
            player,
            link,
            base,
            ca,
            home,
            passed: Vec::new(),
            before: Progress::default(),
            broke: None,
        });
    }
    all(&mut viewers, "start", seconds).await;

    drop(publisher);
    let _publisher = publish(&file, &rtmp, KEY);
    all(&mut viewers, "encoder came back", seconds).await;

    join_all(viewers.iter_mut().map(|viewer| viewer.switch(seconds))).await;

    // After the first death, all viewers are on the remaining node, so that each viewer loses at least one node.
    let [first, second] = NODES;
    nodes.remove(first).expect("a node of this cluster").process.kill();
    all(&mut viewers, "a node killed", seconds).await;
    nodes.insert(first, cluster.node(first).await);
    let returned = text(&nodes[first].ready["broadcast"][0], "https");
    // Wait until the returned node has all that players of the other node may request.
    let left = text(&nodes[second].ready["broadcast"][0], "https");
    let listed = playlist(&cluster.http, &left, STREAM, "audio", 3).await;
    catches_up(&cluster.http, &returned, STREAM, "audio", &listed).await;
    nodes.remove(second).expect("a node of this cluster").process.kill();
    all(&mut viewers, "its node killed", seconds).await;
    viewers.into_iter().map(Viewer::verdict).collect()
}
