//! A run: faults one after the other under observation, and checks of what has to hold throughout and after each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testkit::hls::playlist;
use testkit::publish::{Clip, clip};
use testkit::wait::{PATIENCE, eventually_async};
use tokio::task::JoinSet;

use super::cluster::{BROADCAST, Cluster, INGESTS, KEY, OWNERS, RENDITIONS, STREAM};
use super::fault::{Allowed, Cast, Fault, Step};
use super::ledger::Ledger;
use super::onlookers::{Page, broken_rules, look_on};
use super::player::{Player, Stall};
use super::publisher::Publisher;

/// Longest time from the end of a fault until all nodes agree again, and as many as wanted hold the stream.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// Longest allowed stall.
const STALL_MAX: Duration = Duration::from_secs(2);
/// Stall that a busy machine with two cores may add to that of a fault, or cause without one.
const NOISE_MAX: Duration = Duration::from_millis(1_500);
/// Longest outage of a source beyond the fault: its own start and the publisher's.
const OUTAGE_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a part to seek to.
const SEEK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Parts per second of all renditions together.
const PARTS_PER_SECOND: u64 = 4;
/// Interval at which recovery is checked.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub struct Run {
    cluster: Cluster,
    ledger: Arc<Mutex<Ledger>>,
    player: Arc<Player>,
    page: Page,
    publishers: [Publisher; 2],
    onlookers: JoinSet<()>,
    broken: Vec<String>,
}

impl Run {
    /// Starts a cluster with publishers and viewers that play. The seed says what hostile brokers do.
    pub async fn start(seed: u64) -> Self {
        let cluster = Cluster::start(seed).await;
        if !cluster.has_disks {
            eprintln!("chaos: this user may not mount a tmpfs: full disks are NOT tested; run as root for them");
        }
        let file = clip(cluster.directory.path(), Clip::default());
        let publishers = INGESTS.map(|id| Publisher::start(file.clone(), cluster.rtmp(id), KEY));
        let balancers = [cluster.https("lb2"), cluster.https("lb1")];
        for rendition in RENDITIONS {
            playlist(&cluster.http, &balancers[0], STREAM, rendition, 2).await;
        }
        let ledger = Arc::<Mutex<Ledger>>::default();
        let mut onlookers = JoinSet::new();
        look_on(&cluster, &ledger, &mut onlookers);
        let player = Player::start(cluster.http.clone(), balancers.clone(), ledger.clone(), &mut onlookers);
        // The page uses one balancer only, as any page; faults hit the other one.
        let page = Page::open(&format!("{}/watch/{STREAM}", balancers[1])).await;
        let mut run = Self { cluster, ledger, player, page, publishers, onlookers, broken: Vec::new() };
        run.recover("the start", Duration::ZERO).await;
        run
    }

    pub const fn has_disks(&self) -> bool {
        self.cluster.has_disks
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one fault from its start until the cluster has recovered.
    pub async fn suffer(&mut self, (fault, seconds): Step) {
        let cast = self.cast().await;
        let fault = fault.on(&cast);
        // A larger distance to the live edge from an earlier fault must not help the player now.
        self.player.seek(SEEK_WAIT_MAX).await;
        let since = self.player.now();
        fault.inject(&mut self.cluster).await;
        let lasts = Duration::from_secs(seconds);
        if fault.allowed(&cast) == Allowed::Outage {
            tokio::time::sleep(lasts).await;
        } else {
            // The fault lasts for what the player plays, which may have to wait for media.
            self.player.plays_on(seconds * PARTS_PER_SECOND, lasts + STALL_MAX + NOISE_MAX).await;
        }
        let healed = self.player.now();
        fault.heal(&mut self.cluster).await;
        self.recover(&format!("{fault:?}"), healed).await;
        self.judge(fault, fault.allowed(&cast), since);
        eprintln!("chaos: {fault:?} of {cast:?}: {:.1} s", (self.player.now() - since).as_secs_f64());
    }

    /// Finds the nodes that serve the player, seal and own the stream.
    async fn cast(&self) -> Cast {
        let known = |id: &String| BROADCAST.iter().find(|node| **node == id.as_str()).copied();
        let owners = eventually_async("control to say who owns the stream", PATIENCE, async || {
            self.cluster.holders().await.filter(|holders| !holders.is_empty())
        });
        let owners = owners.await.iter().filter_map(known).collect();
        let [active, standby] =
            eventually_async("one ingest to be active and the other to stand by", PATIENCE, async || {
                let [first, second] = INGESTS;
                match (self.cluster.duty(first).await?.as_str(), self.cluster.duty(second).await?.as_str()) {
                    ("active", "standby") => Some([first, second]),
                    ("standby", "active") => Some([second, first]),
                    _ => None,
                }
            })
            .await;
        let feeding = known(&self.player.node()).expect("a broadcast node of this cluster");
        Cast { feeding, owners, active, standby }
    }

    /// Waits until all nodes are beyond the furthest of them, and the stream has its owners.
    async fn recover(&mut self, after: &str, healed: Duration) {
        let goals: Vec<_> = RENDITIONS.iter().map(|rendition| self.ledger().newest(rendition)).collect();
        let (mut behind, mut holders) = (String::new(), Vec::new());
        let all_is_well = async {
            let mut looks = tokio::time::interval(LOOK_INTERVAL);
            loop {
                looks.tick().await;
                behind = self.behind(&goals);
                if !behind.is_empty() {
                    continue;
                }
                holders = self.cluster.holders().await.unwrap_or_default();
                // A former owner still states the stream for half a minute.
                if holders.len() >= OWNERS {
                    return;
                }
            }
        };
        let well = async { tokio::time::timeout(RECOVERED_WITHIN, all_is_well).await.is_ok() };
        let (recovered, plays) = tokio::join!(well, self.player.plays_on(PARTS_PER_SECOND, RECOVERED_WITHIN));
        let took = (self.player.now() - healed).as_secs_f64();
        if !recovered {
            self.breaks(format!(
                "after {after}: not well again within {RECOVERED_WITHIN:?}: {behind}; held by {holders:?}"
            ));
        } else if !plays {
            self.breaks(format!("after {after}: the player does not play on"));
        } else if healed > Duration::ZERO {
            eprintln!("chaos: {after}: all well {took:.1} s after its end");
        }
    }

    /// The nodes that have not passed the goals yet.
    fn behind(&self, goals: &[Option<super::playlist::Place>]) -> String {
        let ledger = self.ledger();
        let mut behind = Vec::new();
        for (rendition, goal) in RENDITIONS.iter().zip(goals) {
            for id in BROADCAST {
                let end = ledger.end(id, rendition);
                if end <= *goal {
                    behind.push(format!("{id} {rendition} at {end:?}, not beyond {goal:?}"));
                }
            }
        }
        behind.join(", ")
    }

    fn judge(&mut self, fault: Fault, allowed: Allowed, since: Duration) {
        let stalls = self.player.stalls_since(since);
        let (count, longest) =
            (stalls.len(), stalls.iter().map(|stall: &Stall| stall.length).max().unwrap_or_default());
        let together: Duration = stalls.iter().map(|stall| stall.length).sum();
        let is_fine = match allowed {
            Allowed::Nothing => together <= NOISE_MAX,
            Allowed::OneStall => together <= STALL_MAX + NOISE_MAX,
            Allowed::Outage => together <= OUTAGE_MAX,
        };
        if count > 0 {
            eprintln!("chaos: {fault:?}: stalled {count} times, longest {longest:?}");
        }
        if !is_fine {
            self.breaks(format!("{fault:?}: stalls {stalls:?}, allowed: {allowed:?}"));
        }
    }

    /// Runs a fault while the checker checks the stream against the specification.
    pub async fn suffer_checked(&mut self, step: Step) {
        let url = format!("{}/live/{STREAM}/index.m3u8", self.cluster.https("lb2"));
        let ca = self.cluster.path("certs/ca.pem");
        // On a thread of its own, because it waits for FFmpeg's tools, and nothing else must wait with it.
        let checker = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().expect("a runtime").block_on(broken_rules(&url, &ca))
        });
        self.suffer(step).await;
        let broken = tokio::task::spawn_blocking(move || checker.join().expect("the checker came to its end")).await;
        broken.expect("not cancelled").into_iter().for_each(|broken| self.breaks(broken));
    }

    fn breaks(&mut self, what: String) {
        eprintln!("chaos: BROKEN {what}");
        self.broken.push(what);
    }

    /// Ends the run, and panics if something did not hold.
    pub async fn finish(mut self) {
        // The newest bytes may have been fetched before their seals were.
        let served = self.ledger().unsealed();
        let unproved = || {
            let unsealed = self.ledger().unsealed();
            served.iter().filter(|path| unsealed.contains(path)).cloned().collect::<Vec<_>>()
        };
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let proved = async {
            while !unproved().is_empty() {
                looks.tick().await;
            }
        };
        let _ = tokio::time::timeout(RECOVERED_WITHIN, proved).await;
        let unproved = unproved();
        if !unproved.is_empty() {
            self.breaks(format!("served, and sealed by nobody: {unproved:?}"));
        }
        let report = self.page.close().await;
        self.onlookers.shutdown().await;
        drop(self.publishers);
        let last = report.0.last().expect("the browser reported");
        let player = &last["player"];
        for (name, value, right) in [
            ("fatal errors", &player["fatalErrors"], serde_json::json!(0)),
            ("violations of the policy", &last["cspViolations"], serde_json::json!([])),
            ("page errors", &last["pageErrors"], serde_json::json!([])),
        ] {
            if *value != right {
                self.broken.push(format!("browser: {name}: {value}"));
            }
        }
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.broken.extend(ledger.findings().iter().cloned());
        eprintln!("chaos: {} media objects were as sealed; browser stalls: {}", ledger.checked, player["stalls"]);
        assert!(ledger.checked > 0, "nothing was compared with a seal");
        if !self.broken.is_empty() {
            let kept = self.cluster.keep();
            panic!("did not hold:\n{}\nlogs of the nodes: {}", self.broken.join("\n"), kept.display());
        }
    }
}
