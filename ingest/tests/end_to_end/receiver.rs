//! A broadcast node, as far as an ingest sees one: it takes bytes and seals, checks them, and tells where its log stands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use media::{Digest, Epoch, LogSequence, ObjectName, Slot};
use seal::{Freshness, Keyring, Rights, Sealed};
use sha2::Digest as _;
use tokio::sync::watch;

type Place = (Epoch, LogSequence);

#[derive(Default)]
struct Inner {
    /// By URL path.
    objects: BTreeMap<String, Bytes>,
    seals: BTreeMap<Place, Sealed>,
    /// Seals that came over HTTP.
    put_seals: std::collections::BTreeSet<Place>,
    bus_seals: std::collections::BTreeSet<Place>,
    refused: Vec<String>,
    /// Objects that were answered 503.
    busy: usize,
}

pub(crate) struct Receiver {
    inner: Mutex<Inner>,
    keyring: Mutex<Keyring>,
    clock: node::clock::Clock,
    /// Answers 503 to everything while set.
    pub(crate) away: AtomicBool,
    /// Answers 503 to seals alone while set.
    pub(crate) seals_busy: AtomicBool,
    /// Answers 503 to objects alone while set.
    pub(crate) objects_busy: AtomicBool,
    changed: watch::Sender<()>,
}

impl Receiver {
    pub(crate) fn new(keyring: Keyring) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            keyring: Mutex::new(keyring),
            clock: node::clock::Clock::new(),
            away: AtomicBool::new(false),
            seals_busy: AtomicBool::new(false),
            objects_busy: AtomicBool::new(false),
            changed: watch::Sender::new(()),
        })
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/live/{stream}/{rendition}/{epoch}/{slot}", put(put_object))
            .route("/live/{stream}/seals", put(put_seal))
            .route("/live/{stream}/head", get(head))
            .layer(axum::extract::DefaultBodyLimit::max(16 << 20))
            .with_state(Arc::clone(self))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn take_keys(&self, rights: Rights) {
        let mut keyring = self.keyring.lock().unwrap();
        *keyring = keyring.with(rights);
    }

    /// Takes a seal from the bus. All seals have to verify.
    pub(crate) fn take_bus_seal(&self, raw: &Bytes) {
        if let Some(place) = self.take_seal(raw) {
            self.inner().bus_seals.insert(place);
        }
    }

    pub(crate) fn bus_seals(&self) -> usize {
        self.inner().bus_seals.len()
    }

    /// Whether the newest seal came over the bus, too.
    pub(crate) fn bus_has_newest(&self) -> bool {
        let inner = self.inner();
        inner.seals.last_key_value().is_some_and(|(place, _)| inner.bus_seals.contains(place))
    }

    fn take_seal(&self, raw: &Bytes) -> Option<Place> {
        let stream = "demo".parse().unwrap();
        let verified = self.keyring.lock().unwrap().verify(raw, &stream, self.clock.wall(), Freshness::Live);
        let place = match verified {
            Ok(sealed) => {
                let place = (sealed.body().epoch, sealed.body().sequence);
                self.inner().seals.insert(place, sealed);
                Some(place)
            }
            Err(refusal) => {
                self.inner().refused.push(refusal.to_string());
                None
            }
        };
        self.changed.send_replace(());
        place
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.inner().refused.clone()
    }

    pub(crate) fn busy(&self) -> usize {
        self.inner().busy
    }

    pub(crate) fn put_seals(&self) -> usize {
        self.inner().put_seals.len()
    }

    pub(crate) fn seals(&self) -> Vec<Sealed> {
        self.inner().seals.values().cloned().collect()
    }

    pub(crate) fn object(&self, name: &ObjectName) -> Option<Bytes> {
        self.inner().objects.get(&name.to_string()).cloned()
    }

    /// Waits until `wanted` is true for what has arrived.
    pub(crate) async fn wait_for(&self, what: &str, mut wanted: impl FnMut(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !wanted(self) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(40), wait).await.is_err() {
            let inner = self.inner();
            let places: Vec<_> = inner.seals.keys().collect();
            let objects = inner.objects.len();
            panic!("never saw {what}; seals {places:?}, {objects} objects, refused {:?}", inner.refused);
        }
    }

    /// Whether all bytes that a seal names are here, with the digests that it names.
    pub(crate) fn complete(&self, sealed: &Sealed) -> bool {
        let body = sealed.body();
        let mut objects = body.objects.iter().filter(|object| !object.gap);
        objects.all(|object| {
            let name = ObjectName {
                stream: body.stream.clone(),
                rendition: object.rendition.clone(),
                epoch: body.epoch,
                slot: object.slot,
            };
            let bytes = match object.slot {
                Slot::Segment { msn } => self.segment(&name, msn),
                Slot::Init | Slot::Part { .. } | Slot::Image { .. } => self.object(&name),
            };
            bytes.is_some_and(|bytes| {
                Digest(sha2::Sha256::digest(&bytes).into()) == object.digest && bytes.len() as u64 == object.length
            })
        })
    }

    /// Bytes of a segment, which are those of its parts.
    fn segment(&self, name: &ObjectName, msn: media::MediaSequence) -> Option<Bytes> {
        let parts = (0..).map(|part| {
            let slot = Slot::Part { msn, part: media::PartIndex(part) };
            self.object(&ObjectName { slot, ..name.clone() })
        });
        let parts: Vec<u8> = parts.map_while(|part| part).flatten().collect();
        (!parts.is_empty()).then(|| parts.into())
    }

    fn head(&self) -> Option<Sealed> {
        let seals = self.seals();
        seals.into_iter().rev().find(|sealed| self.complete(sealed))
    }
}

async fn put_object(State(receiver): State<Arc<Receiver>>, uri: OriginalUri, bytes: Bytes) -> StatusCode {
    if receiver.away.load(Ordering::SeqCst) || receiver.objects_busy.load(Ordering::SeqCst) {
        receiver.inner().busy += 1;
        receiver.changed.send_replace(());
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let known = receiver.inner().objects.insert(uri.path().to_owned(), bytes.clone());
    receiver.changed.send_replace(());
    match known {
        Some(known) => {
            assert_eq!(known, bytes, "other bytes under the same name {}", uri.path());
            StatusCode::OK
        }
        None => StatusCode::CREATED,
    }
}

async fn put_seal(State(receiver): State<Arc<Receiver>>, Path(_stream): Path<String>, raw: Bytes) -> StatusCode {
    if receiver.away.load(Ordering::SeqCst) || receiver.seals_busy.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if let Some(place) = receiver.take_seal(&raw) {
        receiver.inner().put_seals.insert(place);
        receiver.changed.send_replace(());
    }
    StatusCode::NO_CONTENT
}

async fn head(State(receiver): State<Arc<Receiver>>) -> Result<Bytes, StatusCode> {
    if receiver.away.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    receiver.head().map(|sealed| sealed.raw().clone()).ok_or(StatusCode::NOT_FOUND)
}
