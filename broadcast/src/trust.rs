//! What browsers are told on who may seal a stream, made once for each head that control says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use gate::{Rendered, StreamView};
use media::{LogSequence, StreamId};
use metadata::limits::TRUST_KEYS_MAX;
use replica::Log;
use seal::KeyId;

use crate::viewers::{Trusted, Trusting};

/// Answers that are kept: a node's streams that somebody watches. One more makes all be made anew.
const ANSWERS_MAX: usize = 1024;

/// An answer, and what it was made of.
#[derive(Debug, Clone)]
struct Made {
    head: Bytes,
    keys: Vec<KeyId>,
    answer: Rendered,
}

/// The answers of a node. Clones share them.
#[derive(Clone)]
pub(crate) struct TrustAnswers {
    log: Arc<Log>,
    made: Arc<Mutex<BTreeMap<StreamId, Made>>>,
    /// The grants in force, of no stream.
    grants: Arc<Mutex<Option<Made>>>,
}

impl TrustAnswers {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log, made: Arc::default(), grants: Arc::default() }
    }

    /// The answer for a stream. While an entry of the log is newer than control's head, it is the one of before.
    pub(crate) fn get(&self, view: Arc<StreamView>) -> Trusting {
        let this = self.clone();
        Box::pin(async move { this.answer(&view).await })
    }

    /// The grants in force, for whoever wants to see them all.
    pub(crate) fn grants(&self) -> Trusting {
        let this = self.clone();
        Box::pin(async move {
            let before = this.grants.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let head = this.log.newest_head();
            if let Some(made) = before.as_ref().filter(|made| Some(&made.head) == head.as_ref()) {
                return Trusted::Here(made.answer.clone());
            }
            match this.log.grants().await {
                Ok(Some(trust)) => {
                    let answer = Rendered::new(trust.encode());
                    let made = Made { head: trust.head, keys: Vec::new(), answer: answer.clone() };
                    *this.grants.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
                    Trusted::Here(answer)
                }
                Ok(None) => before.map_or(Trusted::Soon, |made| Trusted::Here(made.answer)),
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "the metadata log cannot be read");
                    Trusted::Soon
                }
            }
        })
    }

    async fn answer(&self, view: &StreamView) -> Trusted {
        let keys = keys_of(view);
        let before = self.lock().get(&view.stream).cloned();
        let head = self.log.newest_head();
        if let Some(made) = before.as_ref().filter(|made| Some(&made.head) == head.as_ref() && made.keys == keys) {
            return Trusted::Here(made.answer.clone());
        }
        match self.log.trust(&view.stream, &keys).await {
            Ok(Some(trust)) => {
                let trust = metadata::Trust { kept: kept(view), ..trust };
                let made = Made { head: trust.head.clone(), keys, answer: Rendered::new(trust.encode()) };
                let answer = made.answer.clone();
                let mut all = self.lock();
                if all.len() >= ANSWERS_MAX {
                    all.clear();
                }
                all.insert(view.stream.clone(), made);
                Trusted::Here(answer)
            }
            Ok(None) => before.map_or(Trusted::Soon, |made| Trusted::Here(made.answer)),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), stream = %view.stream, "the metadata log cannot be read");
                Trusted::Soon
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<StreamId, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys that signed the seals that the node shows, newest first.
fn keys_of(view: &StreamView) -> Vec<KeyId> {
    let mut keys = Vec::new();
    for sealed in view.log.iter().rev() {
        if !keys.contains(&sealed.key()) && keys.len() < TRUST_KEYS_MAX {
            keys.push(sealed.key());
        }
    }
    keys
}

fn kept(view: &StreamView) -> Option<(LogSequence, LogSequence)> {
    let sequence = |sealed: &seal::Sealed| sealed.body().sequence;
    view.log.first().map(sequence).zip(view.log.last().map(sequence))
}
