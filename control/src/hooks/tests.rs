//! The sender with real databases, and receivers behind real sockets.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use catalogue::{
    Catalogue, Commit, Delivery, Edit, Id, Kind, Location, Page, Record, Salt, Stream, StreamKey, Webhook,
};
use media::{StreamId, UnixMillis};
use messages::Pepper;
use node::clock::Clock;
use outbound::{Outbound, Policy, Resolve, Resolving, Trust};
use serde_json::Value;
use testkit::postgres::Postgres;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::sender::Sender;
use super::{EVENTS, Hooks, post};
use crate::lease::{LeaseHolder, Pace};

const PATIENCE: Duration = Duration::from_secs(30);

fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; Pepper::BYTES]).unwrap()
}

/// Where a catalogue is.
enum Place {
    File(#[allow(dead_code, reason = "it goes with the test")] tempfile::TempDir, PathBuf),
    Server(String, #[allow(dead_code, reason = "it ends with the test")] Postgres),
}

impl Place {
    fn file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalogue.db");
        Self::File(directory, path)
    }

    fn server() -> Self {
        let server = Postgres::start();
        Self::Server(server.database(), server)
    }

    async fn open(&self) -> Catalogue {
        let location = match self {
            Self::File(_, path) => Location::File(path),
            Self::Server(url, _) => Location::Server(url),
        };
        Catalogue::open(location, &pepper()).await.unwrap().0
    }
}

/// A request that a receiver got.
#[derive(Debug, Clone)]
struct Got {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }

    fn sequence(&self) -> i64 {
        self.json()["data"]["sequence"].as_i64().unwrap()
    }

    fn subject(&self) -> String {
        self.json()["data"]["subject"]["id"].as_str().unwrap().to_owned()
    }
}

/// How receivers answer, by path; `None` for none at all.
type Answer = Arc<dyn Fn(&Got, usize) -> Option<Response> + Send + Sync>;

/// HTTP servers on one socket; each path is a receiver of its own.
#[derive(Clone)]
struct Receivers {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    arrived: Arc<Notify>,
    answer: Arc<Mutex<Answer>>,
}

impl Receivers {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answer: Answer = Arc::new(|_, _| Some(StatusCode::NO_CONTENT.into_response()));
        let it = Self {
            address: listener.local_addr().unwrap(),
            got: Arc::default(),
            arrived: Arc::default(),
            answer: Arc::new(Mutex::new(answer)),
        };
        let app = Router::new().fallback(take).with_state(it.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        it
    }

    fn answer_with(&self, answer: impl Fn(&Got, usize) -> Option<Response> + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn at(&self, path: &str) -> Vec<Got> {
        self.got.lock().unwrap().iter().filter(|got| got.path == path).cloned().collect()
    }

    /// Waits until what a receiver got is as wanted.
    async fn until(&self, what: &str, path: &str, is_so: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let wait = async {
            loop {
                let arrived = self.arrived.notified();
                let got = self.at(path);
                if is_so(&got) {
                    return got;
                }
                // Two may arrive between two looks.
                let _ = tokio::time::timeout(Duration::from_millis(50), arrived).await;
            }
        };
        let got = tokio::time::timeout(PATIENCE, wait).await;
        got.unwrap_or_else(|_| {
            panic!("{what}: {path} got {:?}", self.at(path).iter().map(Got::json).collect::<Vec<_>>())
        })
    }

    /// Where the operator lets webhooks go: here, and nowhere else inside.
    fn outbound(&self) -> Outbound {
        let policy = Policy::new([format!("http://{}", self.address)]).unwrap();
        Outbound::new(policy, &trust())
    }
}

fn trust() -> Trust {
    let directory = tempfile::tempdir().unwrap();
    let own = node::tls::Authority::ensure(directory.path(), &Clock::new()).unwrap();
    drop(own);
    Trust::load(Some(&directory.path().join("ca.pem")), node::tls::provider()).unwrap()
}

async fn take(State(it): State<Receivers>, uri: axum::http::Uri, headers: HeaderMap, body: Bytes) -> Response {
    let got = Got { path: uri.path().to_owned(), headers, body };
    let count = {
        let mut all = it.got.lock().unwrap();
        all.push(got.clone());
        all.iter().filter(|other| other.path == got.path).count()
    };
    it.arrived.notify_waiters();
    let answer = Arc::clone(&it.answer.lock().unwrap());
    match answer(&got, count) {
        Some(response) => response,
        None => std::future::pending().await,
    }
}

struct Site {
    place: Place,
    catalogue: Catalogue,
    receivers: Receivers,
}

impl Site {
    async fn start(place: Place) -> Self {
        let catalogue = place.open().await;
        Self { catalogue, receivers: Receivers::start().await, place }
    }

    fn hooks(&self, catalogue: Catalogue) -> Hooks {
        Hooks { catalogue, outbound: Some(self.receivers.outbound()), clock: Clock::new() }
    }

    /// A control node that sends, with a lease that it loses soon after it is gone.
    async fn sender(&self, name: &'static str) -> JoinHandle<()> {
        let hooks = self.hooks(self.place.open().await);
        tokio::spawn(async move {
            let millis = Duration::from_millis;
            let pace = Pace { look: millis(50), beat: millis(200), expires: millis(1_500) };
            let lease = LeaseHolder::new((&hooks.catalogue, hooks.clock), (EVENTS, name), pace);
            loop {
                lease.acquire(|_, _| {}).await;
                let _ = tokio::try_join!(lease.keep(), Sender::new(hooks.clone(), &lease).run());
            }
        })
    }

    async fn webhook(&self, path: &str) -> Webhook {
        self.webhook_to(&self.receivers.url(path)).await
    }

    async fn webhook_to(&self, url: &str) -> Webhook {
        let now = Clock::new().wall();
        let webhook = Webhook {
            id: Id::draw(Kind::Webhook, now),
            tenant: Id::default_tenant(),
            url: url.to_owned(),
            kinds: "stream.*".to_owned(),
            disabled: None,
            salt: Salt::draw(),
            old: None,
            failing_since: None,
            version: 1,
            created_at: now,
        };
        self.commit(Edit::CreateWebhook(webhook.clone())).await;
        webhook
    }

    async fn commit(&self, edit: Edit) {
        let at = Clock::new().wall();
        let record = Record {
            id: Id::draw(Kind::Event, at),
            at,
            tenant: None,
            actor: "test".to_owned(),
            credential: String::new(),
            action: String::new(),
            object: String::new(),
            changes: "{}".to_owned(),
            result: "done".to_owned(),
            request_id: String::new(),
        };
        self.catalogue.commit(Commit { edit, record, answer: None }).await.unwrap();
    }

    async fn stream(&self, name: &str) {
        let name = StreamId::new(name).unwrap();
        let key = StreamKey::random().kept(&pepper(), &name);
        self.catalogue.create_stream(&Stream { name, key, created_at: UnixMillis(1) }).await.unwrap();
    }

    async fn change(&self, name: &str, times: usize) {
        for n in 0..times {
            let visibility = if n % 2 == 0 { "token" } else { "public" };
            self.catalogue.set_visibility(&StreamId::new(name).unwrap(), visibility).await.unwrap();
        }
    }

    async fn deliveries(&self, webhook: &Webhook) -> Vec<Delivery> {
        let page = Page {
            is_newest_first: false,
            after: None,
            made_after: None,
            made_before: None,
            like: String::new(),
            limit: 1_000,
        };
        self.catalogue.deliveries(&webhook.id, "", &page).await.unwrap()
    }

    /// Waits until a delivery is so.
    async fn settles(&self, webhook: &Webhook, is_so: impl Fn(&Delivery) -> bool) -> Delivery {
        let wait = async {
            loop {
                if let Some(one) = self.deliveries(webhook).await.into_iter().find(&is_so) {
                    return one;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it is settled")
    }
}

/// The highest sequence of each subject, and what the last message with it says is current.
fn highest(got: &[Got]) -> BTreeMap<String, i64> {
    let mut highest = BTreeMap::new();
    for one in got {
        let newest: &mut i64 = highest.entry(one.subject()).or_default();
        *newest = one.sequence().max(*newest);
    }
    highest
}

fn ok() -> Option<Response> {
    Some(StatusCode::OK.into_response())
}

/// Cases E5, E6 and E8.
#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_signed_by_both_secrets_of_an_overlap_and_say_what_is_current() {
    let site = Site::start(Place::file()).await;
    let (webhook, now) = (site.webhook("/a").await, Clock::new().wall());
    let old = webhook.salt.clone();
    let rotated = Webhook {
        salt: Salt::draw(),
        old: Some((old.clone(), now.plus(Duration::from_secs(60)))),
        version: 2,
        ..webhook.clone()
    };
    site.commit(Edit::UpdateWebhook(rotated.clone())).await;
    site.stream("hall").await;
    site.change("hall", 4).await;
    let sender = site.sender("c1").await;
    let got = site.receivers.until("all come", "/a", |got| got.len() >= 5).await;
    sender.abort();
    assert!(got.iter().map(Got::sequence).eq(1..=5));
    for one in &got {
        let body = one.json();
        assert_eq!(
            (body["data"]["current"]["sequence"].as_i64(), body["data"]["tenant"].as_str()),
            (Some(5), Some(Id::default_tenant().as_str()))
        );
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z') && one.id().starts_with("evt_"), "{body}");
        // Each of the two secrets verifies by itself, with the reference library, and no other does.
        let verifies = |salt: &Salt| {
            let secret = ::webhooks::Secret::new(site.catalogue.webhook_secret(&webhook.id, salt).to_vec()).unwrap();
            let reference = standardwebhooks::Webhook::new(&secret.expose()).unwrap();
            reference.verify(&one.body, &one.headers).is_ok()
        };
        assert_eq!([&rotated.salt, &old, &Salt::draw()].map(verifies), [true, true, false]);
    }
    assert_eq!((body_type(&got[0]).as_str(), body_type(&got[1]).as_str()), ("stream.created", "stream.updated"));
}

fn body_type(got: &Got) -> String {
    got.json()["type"].as_str().unwrap().to_owned()
}

/// Case E9, with two controls at one database: the one that is gone in the middle of sending is taken over, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn control_that_is_gone_is_taken_over_and_of_two_only_one_sends() {
    let site = Site::start(Place::server()).await;
    let webhook = site.webhook("/a").await;
    for name in ["hall", "stage", "choir"] {
        site.stream(name).await;
    }
    // The third request is never answered: its control is gone in the middle of it.
    site.receivers.answer_with(|_, count| if count == 3 { None } else { ok() });
    let first = site.sender("c1").await;
    site.receivers.until("it sends", "/a", |got| got.len() >= 3).await;
    let second = site.sender("c2").await;
    let other = site.place.open().await;
    let writing = async {
        for n in 0..10 {
            let visibility = if n % 2 == 0 { "token" } else { "public" };
            for name in ["hall", "stage", "choir"] {
                other.set_visibility(&StreamId::new(name).unwrap(), visibility).await.unwrap();
            }
        }
    };
    writing.await;
    first.abort();
    let is_all = |got: &[Got]| {
        let newest = highest(got);
        newest.len() == 3 && newest.values().all(|sequence| *sequence == 11)
    };
    let got = site.receivers.until("nothing is lost", "/a", is_all).await;
    let mut seen: HashMap<(String, i64), usize> = HashMap::new();
    for one in &got {
        *seen.entry((one.subject(), one.sequence())).or_default() += 1;
    }
    assert_eq!(seen.len(), 33, "each event came");
    // What was in flight when the first ended comes again, and nothing else does: two that send would send all of it twice.
    let twice = seen.values().filter(|count| **count > 1).count();
    assert!((1..=4).contains(&twice), "{seen:?}");
    // In order for each subject, but for what came again.
    for subject in highest(&got).keys() {
        let sequences: Vec<i64> = got.iter().filter(|one| one.subject() == *subject).map(Got::sequence).collect();
        assert!(sequences.is_sorted(), "{sequences:?}");
    }
    second.abort();
    assert!(site.settles(&webhook, |one| one.state == "delivered").await.attempts >= 1);
}

/// Cases E7 and E11.
#[tokio::test(flavor = "multi_thread")]
async fn slow_receiver_holds_nobody_up_failures_are_tried_again_and_410_disables() {
    let site = Site::start(Place::file()).await;
    let [slow, fails, gone, good] = [
        site.webhook("/slow").await,
        site.webhook("/fails").await,
        site.webhook("/gone").await,
        site.webhook("/good").await,
    ];
    site.receivers.answer_with(|got, count| match got.path.as_str() {
        "/slow" => None,
        "/fails" if count == 1 => {
            let secret = "the receiver's own words, which nobody is shown";
            Some((StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], secret).into_response())
        }
        "/gone" => Some(StatusCode::GONE.into_response()),
        _ => ok(),
    });
    let sender = site.sender("c1").await;
    site.stream("hall").await;
    site.change("hall", 30).await;
    // All of them, while the slow one has not answered the first.
    let got = site.receivers.until("the good one gets all", "/good", |got| highest(got).values().eq([&31])).await;
    assert_eq!((got.len(), site.receivers.at("/slow").len()), (31, 1), "one at a time for a subject");
    let waits = site.settles(&fails, |one| one.attempts == 1).await;
    assert_eq!(
        (waits.state.as_str(), waits.status, waits.error.as_deref()),
        ("pending", Some(503), Some("the receiver answered 503"))
    );
    assert!(waits.due_at.since(waits.created_at) >= Duration::from_secs(7), "Retry-After is kept: {waits:?}");
    let failing = site.catalogue.find_webhook(&Id::default_tenant(), fails.id.as_str()).await.unwrap().unwrap();
    assert!(failing.failing_since.is_some() && failing.disabled.is_none());
    let given_up = site.settles(&gone, |one| one.sequence == 1 && one.state == "failed").await;
    assert_eq!((given_up.status, given_up.attempts), (Some(410), 1));
    let disabled = site.catalogue.find_webhook(&Id::default_tenant(), gone.id.as_str()).await.unwrap().unwrap();
    assert_eq!(disabled.disabled.as_deref(), Some("the receiver answered 410: it wants no more"));
    assert!(site.deliveries(&gone).await.iter().all(|one| one.state == "failed"));
    assert_eq!(site.receivers.at("/gone").len(), 1);
    let events = site.catalogue.events_after(&Id::default_tenant(), 0).await.unwrap();
    assert!(events.iter().any(|event| event.kind == "webhook.disabled" && event.subject.1 == gone.id.as_str()));
    // The same event, once more, with the same identity and a new time.
    let again = site.receivers.until("it is tried again", "/fails", |got| got.len() >= 2).await;
    assert_eq!(again[0].id(), again[1].id());
    assert_eq!(site.settles(&fails, |one| one.sequence == 1 && one.state == "delivered").await.attempts, 2);
    sender.abort();
    let _ = (slow, good);
}

/// A name server that leads every name inside.
struct Rebinding;

impl Resolve for Rebinding {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(async { Ok(vec!["93.184.216.34".parse().unwrap(), "169.254.169.254".parse().unwrap()]) })
    }
}

/// Case E10, through webhooks: what was stored by an older version, names that change, and redirects.
#[tokio::test(flavor = "multi_thread")]
async fn webhook_leads_nowhere_inside() {
    let site = Site::start(Place::file()).await;
    let hooks = site.hooks(site.catalogue.clone());
    let sent =
        async |hooks: &Hooks, url: &str| post(hooks, &site.webhook_to(url).await, "evt_1", "{}".to_owned()).await;
    for url in [
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x7f000001/",
        "https://localhost./",
        "http://hooks.example/",
        "file:///etc/passwd",
    ] {
        let posted = sent(&hooks, url).await;
        assert_eq!((posted.label, posted.status), ("refused", None), "{url}: {posted:?}");
    }
    // A public name that leads inside, too, by the time that it is used.
    let outbound = Outbound::with_resolver(Policy::default(), &trust(), Arc::new(Rebinding));
    let posted = sent(&Hooks { outbound: Some(outbound), ..hooks.clone() }, "https://rebind.example/").await;
    assert_eq!(posted.label, "refused", "{posted:?}");
    assert!(!posted.error.as_ref().unwrap().contains("169.254"), "{posted:?}");
    // A redirect inside is not followed, and counts as a failure.
    let inside = site.receivers.url("/inside");
    site.receivers.answer_with(move |got, _| match got.path.as_str() {
        "/away" => Some((StatusCode::FOUND, [("location", inside.clone())]).into_response()),
        "/long" => Some("a".repeat(65_537).into_response()),
        _ => ok(),
    });
    let away = sent(&hooks, &site.receivers.url("/away")).await;
    assert_eq!((away.label, site.receivers.at("/inside").len()), ("redirected", 0), "{away:?}");
    let long = sent(&hooks, &site.receivers.url("/long")).await;
    assert_eq!(long.label, "too_large", "{long:?}");
    assert_eq!(sent(&hooks, &site.receivers.url("/good")).await.label, "delivered");
}
