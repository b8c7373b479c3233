//! The gate in virtual time: what it admits, what it refuses, and that it always goes on.

mod edge;
mod log;
mod network;
mod single;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{NodeId, Now, ObjectName, StreamId, UnixMillis};
use messages::AlertReason;
use playlist::reload::Extent;
use testkit::studio::{self, Authority, Row, START, Studio, node, sha256, stream};

use super::{Answer, Effect, Gate, Input, Output, Pulled, SavedHead, Settings, Source, StreamView};

fn at(elapsed: Duration) -> Now {
    Now { elapsed, wall: START.plus(elapsed) }
}

/// A gate, and everything it said.
struct Bench {
    gate: Gate,
    now: Duration,
    views: BTreeMap<StreamId, Arc<StreamView>>,
    refused: Vec<AlertReason>,
    answers: Vec<Answer>,
    pulls: Vec<Effect>,
    saved: BTreeMap<StreamId, SavedHead>,
}

impl Bench {
    fn new(heads: BTreeMap<StreamId, SavedHead>) -> Self {
        let settings = Settings { playlist: playlist::Settings::default(), media_bytes_max: 256 * 1024 * 1024 };
        Self {
            gate: Gate::new(settings, Authority::nobody(), heads.clone()),
            now: Duration::ZERO,
            views: BTreeMap::new(),
            refused: vec![],
            answers: vec![],
            pulls: vec![],
            saved: heads,
        }
    }

    /// A gate that has the grant of the studio's key, and has waited in vain for peers.
    fn with(authority: &Authority, studio: &Studio) -> Self {
        let mut bench = Self::new(BTreeMap::new());
        bench.apply(Input::Keys(authority.grant(studio, START)));
        bench.wait(Duration::from_secs(2));
        bench
    }

    fn wall(&self) -> UnixMillis {
        at(self.now).wall
    }

    fn apply(&mut self, input: Input) {
        for output in self.gate.apply(input, at(self.now)) {
            match output {
                Output::Respond(answer) => self.answers.push(answer),
                Output::Publish(view) => _ = self.views.insert(view.stream.clone(), view),
                Output::Forget(stream) => _ = self.views.remove(&stream),
                Output::Effect(Effect::Refused(refused)) => self.refused.push(refused.reason),
                Output::SaveHead(stream, head) => _ = self.saved.insert(stream, head),
                Output::Effect(pull) => self.pulls.push(pull),
                Output::Keys(_) | Output::Admitted(..) => {}
            }
        }
        self.gate.check_invariants();
    }

    /// Lets time pass, deadline by deadline.
    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.gate.next_deadline().filter(|next| *next <= end) {
            let stuck = next <= self.now;
            self.now = next.max(self.now);
            self.apply(Input::Tick);
            assert!(
                !stuck || self.gate.next_deadline().is_none_or(|again| again > self.now),
                "a deadline that stays due"
            );
        }
        self.now = end;
    }

    fn seal(&mut self, row: &Row) {
        self.raw(row.sealed.raw(), &row.sealed.body().stream.clone());
    }

    fn raw(&mut self, raw: &Bytes, stream: &StreamId) {
        self.apply(Input::Seal { stream: stream.clone(), raw: raw.clone(), source: Source::Bus });
    }

    fn object(&mut self, name: &ObjectName, bytes: &Bytes) {
        self.object_from("i1", name, bytes);
    }

    fn object_from(&mut self, peer: &str, name: &ObjectName, bytes: &Bytes) {
        let (name, bytes, digest) = (name.clone(), bytes.clone(), sha256(bytes));
        self.apply(Input::Object { name, digest, bytes, peer: node(peer) });
    }

    fn objects(&mut self, row: &Row) {
        for (name, bytes) in &row.objects {
            self.object(name, bytes);
        }
    }

    fn take(&mut self, row: &Row) {
        self.objects(row);
        self.seal(row);
    }

    fn take_all<'r>(&mut self, rows: impl IntoIterator<Item = &'r Row>) {
        rows.into_iter().for_each(|row| self.take(row));
    }

    fn view(&self) -> &StreamView {
        self.views.values().next().expect("a stream is held")
    }

    fn playlist(&self, rendition: &str) -> Option<String> {
        let view = self.views.values().next()?;
        let playlist = view.playlists.as_ref()?.live().media(&studio::rendition(rendition), Extent::Full)?;
        Some(String::from_utf8(playlist.identity().to_vec()).unwrap())
    }

    fn admitted(&self) -> u64 {
        self.views.values().next().map_or(0, |view| view.seals_admitted)
    }

    fn reasons(&mut self) -> Vec<AlertReason> {
        std::mem::take(&mut self.refused)
    }
}
