//! Downloads of segments, parts and media initialization sections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::fetch::{Fetcher, Got, Wish, resolve};
use crate::media::{Content, Init, digest};
use crate::observation::{Answer, Fetch, InitSeen};
use crate::playlist::{ByteRange, Map, Segment};

/// Most media initialization sections that are read of one rendition.
const INITS_MAX: usize = 256;
/// A transfer that takes longer than this is repeated, to know how fast it could have been.
const SLOW: Duration = Duration::from_millis(200);

/// A media initialization section and its bytes.
pub(super) type Loaded = Arc<(InitSeen, Bytes)>;

/// Location of a media initialization section.
#[derive(Debug, Clone)]
pub(super) struct InitRef {
    /// Its key in the record.
    pub key: String,
    url: String,
    range: Option<(u64, u64)>,
}

/// Location of an object, and how to read it.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub url: String,
    pub range: Option<(u64, u64)>,
    pub map: Option<InitRef>,
    /// Whether it is not encrypted.
    pub clear: bool,
}

impl Object {
    /// A segment or, with another URI and range, a part of it.
    pub(super) fn new(base: &str, uri: &str, range: Option<ByteRange>, of: &Segment) -> Self {
        let map = of.map.as_ref().map(|map| {
            let url = resolve(base, &map.uri);
            InitRef { key: key(&url, map), url, range: map.range.map(span) }
        });
        Self { url: resolve(base, uri), range: range.map(span), map, clear: of.clear() }
    }
}

fn span(range: ByteRange) -> (u64, u64) {
    (range.offset.unwrap_or(0), range.length)
}

fn key(url: &str, map: &Map) -> String {
    map.range.map_or_else(|| url.to_owned(), |range| format!("{url}#{}@{}", range.length, range.offset.unwrap_or(0)))
}

/// The media initialization sections of a rendition, each loaded once.
pub(super) struct Inits {
    fetcher: Fetcher,
    cells: Mutex<BTreeMap<String, Arc<OnceCell<Loaded>>>>,
}

impl Inits {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, cells: Mutex::default() }
    }

    /// The media initialization section of an object; loads it if it is not loaded yet.
    pub(super) async fn of(&self, object: &Object, wait_max: Duration) -> Option<Loaded> {
        let InitRef { key, url, range } = object.map.as_ref()?;
        let cell = {
            let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            if cells.len() >= INITS_MAX && !cells.contains_key(key) {
                return None;
            }
            cells.entry(key.clone()).or_default().clone()
        };
        let load = || async {
            let got = self.fetcher.get(url, Wish { range: *range, text: false, wait_max }).await;
            let init = if got.answer.is_whole() { Init::read(&got.body) } else { Init::default() };
            Arc::new((InitSeen { answer: got.answer, init }, got.body))
        };
        Some(cell.get_or_init(load).await.clone())
    }

    /// All loaded media initialization sections, by key.
    pub(super) fn seen(&self) -> BTreeMap<String, InitSeen> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.iter().filter_map(|(key, cell)| Some((key.clone(), cell.get()?.0.clone()))).collect()
    }

    /// Bytes of the media initialization section with this key.
    pub(super) fn bytes(&self, key: &str) -> Option<Bytes> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Some(cells.get(key)?.get()?.1.clone())
    }
}

/// A download, its bytes, and a second download if it was slow.
pub(super) struct Downloaded {
    pub fetch: Fetch,
    pub bytes: Bytes,
    pub again: Option<Answer>,
}

/// Downloads an object and parses it.
pub(super) async fn download(fetcher: &Fetcher, inits: &Inits, object: &Object, wait_max: Duration) -> Downloaded {
    let wish = Wish { range: object.range, text: false, wait_max };
    let Got { answer, body, .. } = fetcher.get(&object.url, wish).await;
    let init = inits.of(object, wait_max).await;
    let content = if answer.is_whole() && object.clear {
        Content::read(&body, init.as_ref().map(|init| &init.0.init))
    } else {
        Content::Opaque
    };
    let slow = answer.is_whole() && answer.transfer() > SLOW;
    let again = if slow { Some(fetcher.get(&object.url, wish).await.answer) } else { None };
    Downloaded { fetch: Fetch { digest: digest(&body), answer, content }, bytes: body, again }
}
