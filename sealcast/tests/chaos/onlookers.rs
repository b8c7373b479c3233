//! Observers besides the player: one that loads playlists and log from every node, past all links, and a real browser.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conformance::report::Report;
use conformance::verdict::Status;
use conformance::watch::{Cookies, Network, Settings, Tools, Trust, observe};
use media::{ClusterId, StreamId};
use metadata::{Roots, Trust as Proofs};
use node::clock::Clock;
use seal::{Freshness, Keyring, Rights, RootPublicKey, Scope};
use testkit::browser::{self, Browser};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::cluster::{BROADCAST, Cluster, RENDITIONS, STREAM};
use super::ledger::Ledger;
use super::playlist::Listing;

/// Interval between two looks at a node, so long that a drained node counts as quiet.
const LOOK_INTERVAL: Duration = Duration::from_millis(900);
/// Longest wait for an answer, because a frozen node does not answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
/// The row about removed segments does not count. Nodes hold these in memory, and if all were killed within the last minute, none has
/// them any more.
const REMOVED_SEGMENTS: u8 = 9;
/// The row that requires several bit rates (A9.9). The test has only one, to leave the machine to the rest.
const SEVERAL_BIT_RATES: u8 = 23;
/// How long the checker watches, and how much longer it may take.
const CHECK_LASTS: Duration = Duration::from_secs(12);
const CHECK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Tolerance for timings on a machine that does all of this at once.
const CHECK_SLACK: Duration = Duration::from_secs(1);
/// How long the browser stays, in seconds: longer than any run.
const BROWSER_SECONDS: u32 = 1_200;

/// Observes all nodes until the set of tasks ends.
pub fn look_on(cluster: &Cluster, ledger: &Arc<Mutex<Ledger>>, tasks: &mut JoinSet<()>) {
    let root = std::fs::read(cluster.path("data/control/root.pub")).expect("control made it");
    let root = RootPublicKey::from_bytes(&root).expect("a root key");
    for id in BROADCAST {
        let name = ClusterId::new("sealcast").expect("a valid name");
        let (roots, keyring) = (Roots::new(name, root.clone()), None);
        let stream = StreamId::new(STREAM).expect("a valid name");
        let looker = Looker {
            id,
            base: cluster.https(id),
            http: cluster.http.clone(),
            ledger: ledger.clone(),
            roots,
            keyring,
            stream,
            clock: Clock::new(),
            next: 0,
        };
        tasks.spawn(looker.run());
    }
}

struct Looker {
    id: &'static str,
    base: String,
    http: reqwest::Client,
    ledger: Arc<Mutex<Ledger>>,
    roots: Roots,
    /// `None` before the node has proven a grant.
    keyring: Option<Keyring>,
    stream: StreamId,
    clock: Clock,
    /// Sequence number of the next seal to load.
    next: u64,
}

impl Looker {
    async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            for rendition in RENDITIONS {
                let Some(text) = self.get(&format!("/live/{STREAM}/{rendition}/index.m3u8")).await else { break };
                let listing = Listing::parse(&String::from_utf8_lossy(&text));
                self.with(|ledger, id| match &listing {
                    Ok(listing) => ledger.listed(id, rendition, listing),
                    Err(why) => ledger.find(format!("{rendition} of {id}: {why}")),
                });
            }
            self.seals().await;
        }
    }

    fn with(&self, look: impl FnOnce(&mut Ledger, &str)) {
        look(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner), self.id);
    }

    async fn get(&self, path: &str) -> Option<bytes::Bytes> {
        let request = self.http.get(format!("{}{path}", self.base)).timeout(ANSWER_WAIT_MAX);
        request.send().await.ok()?.error_for_status().ok()?.bytes().await.ok()
    }

    /// Takes the node's newest seals into the ledger, each verified under the root key.
    async fn seals(&mut self) {
        let Some(seals) = self.get(&format!("/live/{STREAM}/seals?from={}", self.next)).await else { return };
        let mut grants_asked = false;
        for item in seal::sequence::split(&seals) {
            let Ok(item) = item else { return self.with(|ledger, id| ledger.find(format!("{id}: broken seals"))) };
            let mut verified = self.verify(&item);
            if verified.is_err() && !grants_asked {
                self.grants().await;
                grants_asked = true;
                verified = self.verify(&item);
            }
            match verified {
                Ok(sealed) => {
                    self.next = sealed.body().sequence.0 + 1;
                    self.with(|ledger, id| ledger.sealed(id, &self.stream, &sealed));
                }
                Err(refusal) => {
                    // A node that has no grants yet serves none; ask again later.
                    if self.keyring.is_some() {
                        let what = format!("{} serves a seal that does not verify: {refusal}", self.id);
                        self.with(|ledger, _| ledger.find(what));
                    }
                    return;
                }
            }
        }
    }

    fn verify(&self, item: &bytes::Bytes) -> Result<seal::Sealed, seal::Refusal> {
        let none = || seal::Refusal::malformed("no keys are known yet");
        let keyring = self.keyring.as_ref().ok_or_else(none)?;
        keyring.verify(item, &self.stream, self.clock.wall(), Freshness::CatchUp)
    }

    async fn grants(&mut self) {
        let Some(answer) = self.get(&format!("/api/v1/trust/{STREAM}")).await else { return };
        let mut roots = self.roots.clone();
        let Ok(proven) = Proofs::decode(&answer).and_then(|proofs| proofs.verify(&mut roots, &self.stream)) else {
            return;
        };
        let grant = |key: metadata::GrantedKey| seal::Grant {
            public_key: key.public_key.as_bytes().to_vec(),
            node: key.node,
            scope: Scope::Streams(vec![self.stream.clone()]),
            may_delegate: false,
            from: key.from,
            until: key.until,
        };
        let grants: Vec<_> = proven.keys.into_iter().filter(|key| key.may_seal).map(grant).collect();
        if !grants.is_empty() {
            let cluster = roots.cluster().clone();
            self.keyring = Some(Keyring::new(cluster).with(Rights { grants, ..Rights::default() }));
        }
    }
}

/// Rows in which `conformance hls URL` finds a broken MUST.
pub async fn broken_rules(url: &str, ca: &Path) -> Vec<String> {
    let settings = Settings {
        url: url.to_owned(),
        duration: CHECK_LASTS,
        row_timeout: CHECK_WAIT_MAX,
        cookies: Cookies::Keep,
        tools: Tools::Use,
        slack: CHECK_SLACK,
    };
    let network = Network::new(&Trust::Authority(ca.to_owned())).expect("the authority can be read");
    let observation = observe(Arc::new(network), &settings).await.expect("the stream is there");
    let report = Report::of(&observation, &[]);
    let failed = report
        .rows
        .iter()
        .filter(|row| row.verdict.status == Status::Fail && ![SEVERAL_BIT_RATES, REMOVED_SEGMENTS].contains(&row.row));
    failed.map(|row| format!("row {} {}: {:?}", row.row, row.name, row.verdict.evidence)).collect()
}

/// A page that stays open throughout.
pub struct Page {
    reader: JoinHandle<Browser>,
    stop: oneshot::Sender<()>,
}

impl Page {
    pub async fn open(url: &str) -> Self {
        let mut browser = Browser::open(url, BROWSER_SECONDS);
        browser.until_playing().await;
        let (stop, mut stopped) = oneshot::channel();
        let reader = tokio::spawn(async move {
            loop {
                tokio::select! {
                    report = browser.next() => assert!(report.is_some(), "the browser ended: {:?}", browser.reports.last()),
                    _ = &mut stopped => return browser,
                }
            }
        });
        Self { reader, stop }
    }

    pub async fn close(self) -> browser::Report {
        // An error means that the browser has failed, which the next line reports.
        let _ = self.stop.send(());
        self.reader.await.expect("the browser lived").stop().await
    }
}
