//! What the seals list, and what the player has loaded. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use media::{Digest, Epoch, LogSequence, MediaSequence, PartIndex, RenditionId, Slot};
use seal::SealBody;

use crate::log::Place;

/// Most objects that wait for their seals: half a minute of parts of a video and its sound. The oldest goes first, unchecked.
const WAITING_MAX: usize = 128;
/// Most objects that are listed: a quarter of an hour of a stream with six renditions. An older piece of the log comes on top.
const LISTED_MAX: usize = 16 * 1024;
/// Seals whose objects stay when there are too many.
const SEALS_KEPT: u64 = 512;
/// How long an object may come that a new epoch has voided: a node serves it until it hears of the epoch.
const VOID_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long an object waits for an older piece of the log.
const BEFORE_WAIT_MAX: Duration = Duration::from_secs(15);

/// Where an object is.
pub(crate) type Name = (RenditionId, Epoch, Slot);

/// Reads `720p/3/17.2.m4s`; `None` for what is no media object of a player.
pub(crate) fn parse(place: &str) -> Option<Name> {
    let mut parts = place.split('/');
    let (rendition, epoch, slot) = (parts.next()?, parts.next()?, parts.next()?);
    let slot = Slot::parse(slot).filter(|slot| !matches!(slot, Slot::Image { .. }))?;
    parts.next().is_none().then_some(())?;
    Some((RenditionId::new(rendition).ok()?, epoch.parse().ok()?, slot))
}

fn shown((rendition, epoch, slot): &Name) -> String {
    format!("{rendition}/{epoch}/{slot}")
}

/// What a seal says of an object.
#[derive(Debug, Clone, Copy)]
struct Listed {
    digest: Digest,
    /// First seal that lists it.
    first: LogSequence,
    /// Newest seal that lists it.
    last: LogSequence,
}

#[derive(Debug, Clone)]
struct Loaded {
    name: Name,
    digest: Digest,
    at: Duration,
    /// It is older than the log here, and an older piece of that may list it.
    is_before: bool,
}

/// What became of a loaded object.
enum Settled {
    Right,
    Wrong(String),
    /// Its seal may come.
    Waits,
    /// An older piece of the log may list it.
    Before,
    /// Nothing here can say.
    Unlisted,
}

#[derive(Debug, Default)]
pub(crate) struct Objects {
    listed: BTreeMap<Name, Listed>,
    /// Oldest row that is listed.
    oldest: Option<(Epoch, MediaSequence, PartIndex)>,
    waiting: VecDeque<Loaded>,
    right: u64,
    unlisted: u64,
}

impl Objects {
    pub(crate) const fn right(&self) -> u64 {
        self.right
    }

    pub(crate) const fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Objects whose seals may still come.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.iter().filter(|loaded| !loaded.is_before).count()
    }

    /// Objects that an older piece of the log may list.
    pub(crate) fn before(&self) -> usize {
        self.waiting.iter().filter(|loaded| loaded.is_before).count()
    }

    pub(crate) fn longest_wait(&self, now: Duration) -> Duration {
        let oldest = self.waiting.iter().find(|loaded| !loaded.is_before);
        oldest.map_or(Duration::ZERO, |loaded| now.saturating_sub(loaded.at))
    }

    /// Begins anew with nothing listed.
    pub(crate) fn begin(&mut self) {
        self.listed.clear();
        self.oldest = None;
    }

    /// Notes what a seal lists.
    pub(crate) fn list(&mut self, body: &SealBody, sequence: LogSequence) {
        for object in &body.objects {
            if let Slot::Part { msn, part } = object.slot {
                let row = (body.epoch, msn, part);
                self.oldest = Some(self.oldest.map_or(row, |oldest| oldest.min(row)));
            }
            if !object.gap {
                self.put((object.rendition.clone(), body.epoch, object.slot), object.digest, sequence);
            }
        }
        for rendition in &body.checkpoint {
            self.put((rendition.track.rendition.clone(), body.epoch, Slot::Init), rendition.init, sequence);
        }
    }

    /// When too much is listed, forgets what only seals far before the newest one list: such objects are from before the log then. Returns
    /// whether it has.
    pub(crate) fn forget(&mut self, newest: LogSequence) -> bool {
        if self.listed.len() <= LISTED_MAX {
            return false;
        }
        let from = LogSequence(newest.0.saturating_sub(SEALS_KEPT));
        self.listed.retain(|_, listed| listed.last >= from);
        let row = |(_, epoch, slot): &Name| match *slot {
            Slot::Part { msn, part } => Some((*epoch, msn, part)),
            Slot::Init | Slot::Segment { .. } | Slot::Image { .. } => None,
        };
        self.oldest = self.listed.keys().filter_map(row).min();
        true
    }

    fn put(&mut self, name: Name, digest: Digest, sequence: LogSequence) {
        let listed = self.listed.entry(name).or_insert(Listed { digest, first: sequence, last: sequence });
        (listed.first, listed.last) = (listed.first.min(sequence), listed.last.max(sequence));
    }

    /// Forgets what seals after this one list: a new epoch builds on it.
    pub(crate) fn void(&mut self, after: LogSequence) {
        self.listed.retain(|_, listed| listed.first <= after);
    }

    /// Takes an object that was loaded.
    pub(crate) fn take(&mut self, name: Name, digest: Digest, length: usize, at: Duration) {
        // The empty answer for a gap shows nothing.
        if length == 0 {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
            self.unlisted = self.unlisted.saturating_add(1);
        }
        self.waiting.push_back(Loaded { name, digest, at, is_before: false });
    }

    /// Compares what waits with the log, whose newest seal is at `place`. Returns what is wrong.
    pub(crate) fn settle(&mut self, place: Option<&Place>, now: Duration) -> Option<String> {
        let place = place?;
        let mut wrong = None;
        for loaded in std::mem::take(&mut self.waiting) {
            match self.compare(&loaded, place, now) {
                Settled::Right => self.right = self.right.saturating_add(1),
                Settled::Unlisted => self.unlisted = self.unlisted.saturating_add(1),
                Settled::Waits => self.waiting.push_back(Loaded { is_before: false, ..loaded }),
                Settled::Before => self.waiting.push_back(Loaded { is_before: true, ..loaded }),
                Settled::Wrong(why) => wrong = wrong.or(Some(why)),
            }
        }
        wrong
    }

    fn compare(&self, loaded: &Loaded, place: &Place, now: Duration) -> Settled {
        let (_, epoch, slot) = &loaded.name;
        if let Some(listed) = self.listed.get(&loaded.name) {
            if listed.digest == loaded.digest {
                return Settled::Right;
            }
            let shown = shown(&loaded.name);
            return Settled::Wrong(format!("{shown} is not what seal {} names", listed.first));
        }
        if self.is_before(*epoch, *slot) {
            let is_over = now.saturating_sub(loaded.at) > BEFORE_WAIT_MAX;
            return if is_over { Settled::Unlisted } else { Settled::Before };
        }
        let is_behind =
            *epoch > place.epoch || (*epoch == place.epoch && msn(*slot).is_some_and(|msn| msn >= place.next_msn));
        if is_behind {
            return Settled::Waits;
        }
        if *epoch < place.epoch && now.saturating_sub(place.opened_at) < VOID_WAIT_MAX {
            return Settled::Unlisted;
        }
        Settled::Wrong(format!("{} is named by no seal", shown(&loaded.name)))
    }

    /// Whether an object is older than what is listed. Init segments of the oldest epoch are when none of its checkpoints is here.
    fn is_before(&self, epoch: Epoch, slot: Slot) -> bool {
        let Some((oldest, oldest_msn, oldest_part)) = self.oldest else { return true };
        let lists_init = |epoch| self.listed.keys().any(|(_, of, slot)| (*of, *slot) == (epoch, Slot::Init));
        match slot {
            Slot::Init => epoch < oldest || (epoch == oldest && !lists_init(epoch)),
            Slot::Part { msn, part } => (epoch, msn, part) < (oldest, oldest_msn, oldest_part),
            Slot::Segment { msn } | Slot::Image { msn } => (epoch, msn) < (oldest, oldest_msn),
        }
    }
}

const fn msn(slot: Slot) -> Option<MediaSequence> {
    match slot {
        Slot::Init => None,
        Slot::Part { msn, .. } | Slot::Segment { msn } | Slot::Image { msn } => Some(msn),
    }
}
