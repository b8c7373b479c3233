//! Takes what comes in: seals, bytes, keys, and answers of peers. Pure.

use std::sync::Arc;

use bytes::Bytes;
use media::{Digest, NodeId, ObjectName, Slot, StreamId};
use messages::AlertReason;
use seal::limits::{IMAGE_BYTES_MAX, INIT_BYTES_MAX, PART_BYTES_MAX};
use seal::{Freshness, KeyId, Keyring, Refusal, RefusalReason, Sealed};

use super::limits::{UNGRANTED_MAX, UNGRANTED_WAIT_MAX};
use super::store::length;
use super::{Answer, Gate, Output, Pull, PullId, Pulled, Source, UngrantedSeal, reason_of};

/// Where a well-formed envelope has its key id. It decides only whether a seal waits for a grant.
const KEY_AT: std::ops::Range<usize> = 9..25;

impl Gate {
    pub(super) fn seal(&mut self, stream: StreamId, raw: &Bytes, source: Source) {
        let is_push = matches!(source, Source::Put(_));
        if self.streams.get(&stream).is_some_and(|held| held.has_newest(raw)) {
            if is_push {
                self.shared.outputs.push(Output::Respond(Answer::Known));
            }
            return;
        }
        let answer = match self.verify(&stream, raw, &source) {
            Ok(sealed) => self.verified(stream, sealed),
            Err(refusal) => {
                let reason = reason_of(refusal.reason);
                if let Err(detail) = self.hold(&stream, raw, source, refusal) {
                    self.refuse(reason, &stream, detail);
                }
                Answer::Refused(reason)
            }
        };
        if is_push {
            self.shared.outputs.push(Output::Respond(answer));
        }
    }

    /// Whether the metadata log has revoked the node: after its push was let in, too.
    pub(super) fn is_revoked(&self, peer: &NodeId) -> bool {
        self.shared.keyring.is_node_revoked(peer)
    }

    pub(super) fn refuse_revoked(&mut self, peer: &NodeId, stream: &StreamId) {
        self.refuse(AlertReason::Key, stream, format!("push of node {peer}, which is revoked"));
        self.shared.outputs.push(Output::Respond(Answer::Refused(AlertReason::Key)));
    }

    fn verify(&self, stream: &StreamId, raw: &Bytes, source: &Source) -> Result<Sealed, Refusal> {
        let freshness = match source {
            Source::Bus | Source::Put(_) => Freshness::Live,
            Source::Head => Freshness::CatchUp,
        };
        self.shared.keyring.verify(raw, stream, self.shared.now.wall, freshness)
    }

    /// Keeps a seal that lacks only a grant for its key; otherwise returns the refusal's detail.
    fn hold(&mut self, stream: &StreamId, raw: &Bytes, source: Source, refusal: Refusal) -> Result<(), String> {
        let key = raw.get(KEY_AT).and_then(|key| key.try_into().ok()).map(KeyId);
        let lacks_grant = refusal.reason == RefusalReason::Key
            && key.is_some_and(|key| self.shared.keyring.grant(&key).is_none())
            && self.ungranted.len() < UNGRANTED_MAX;
        if !lacks_grant {
            return Err(refusal.detail);
        }
        let deadline = self.shared.now.elapsed + UNGRANTED_WAIT_MAX;
        let (stream, raw) = (stream.clone(), raw.clone());
        self.ungranted.push_back(UngrantedSeal { deadline, stream, raw, source, detail: refusal.detail });
        Ok(())
    }

    /// Verifies the seals that wait for a grant again, in the order in which they came.
    fn look_again(&mut self) {
        for ungranted_seal in std::mem::take(&mut self.ungranted) {
            match self.verify(&ungranted_seal.stream, &ungranted_seal.raw, &ungranted_seal.source) {
                Ok(sealed) => _ = self.verified(ungranted_seal.stream, sealed),
                Err(refusal) if refusal.reason == RefusalReason::Key => self.ungranted.push_back(ungranted_seal),
                Err(refusal) => self.refuse(reason_of(refusal.reason), &ungranted_seal.stream, refusal.detail),
            }
        }
    }

    /// Refuses seals whose grant did not arrive in time.
    pub(super) fn refuse_ungranted(&mut self) {
        let now = self.shared.now.elapsed;
        while let Some(ungranted_seal) = self.ungranted.pop_front_if(|ungranted_seal| ungranted_seal.deadline <= now) {
            self.refuse(AlertReason::Key, &ungranted_seal.stream, ungranted_seal.detail);
        }
    }

    fn verified(&mut self, id: StreamId, sealed: Sealed) -> Answer {
        self.stream(id).map_or(Answer::Full, |(stream, shared)| stream.seal(sealed, shared))
    }

    pub(super) fn object(&mut self, name: &ObjectName, digest: Digest, bytes: Bytes, peer: &NodeId) -> Answer {
        let bytes_max = match name.slot {
            Slot::Init => INIT_BYTES_MAX,
            Slot::Part { .. } => PART_BYTES_MAX,
            Slot::Image { .. } => IMAGE_BYTES_MAX,
            // Nobody pushes a segment: it is made of its parts.
            Slot::Segment { .. } => 0,
        };
        if bytes.is_empty() || length(&bytes) > bytes_max {
            let reason = if bytes.is_empty() { AlertReason::Digest } else { AlertReason::Malformed };
            self.refuse(
                reason,
                &name.stream,
                format!("{name} from {peer}: not a part, image or init segment of allowed size"),
            );
            return Answer::Refused(reason);
        }
        if !self.make_room(length(&bytes)) {
            self.refuse(AlertReason::Quarantine, &name.stream, format!("{name} from {peer}: no memory for more media"));
            return Answer::Full;
        }
        if let Some((stream, shared)) = self.held(&name.stream) {
            let named = stream.named(name);
            match named {
                Some(named) if named.digest != digest => {
                    stream.pull_now(name, shared);
                    let detail = format!("{name} from {peer}: {} bytes that are not what the seal names", bytes.len());
                    self.refuse(AlertReason::Digest, &name.stream, detail);
                    return Answer::Refused(AlertReason::Digest);
                }
                // An edge must not acknowledge bytes that it throws away, now or with their seal. The push makes this node an owner
                // in a moment.
                _ if stream.is_edge() => return Answer::Full,
                Some(named) if named.is_settled => return Answer::Known,
                Some(_) => {
                    stream.foresee(name, digest, &bytes);
                    stream.fill(name, digest, bytes, shared.now.elapsed);
                    return Answer::Stored;
                }
                None => stream.foresee(name, digest, &bytes),
            }
        }
        match self.shared.quarantine.insert(name, digest, bytes, peer, self.shared.now.elapsed) {
            Ok(()) => Answer::Stored,
            Err(full) => {
                self.refuse(AlertReason::Quarantine, &name.stream, format!("{name} from {peer}: {full}"));
                Answer::Full
            }
        }
    }

    pub(super) fn pulled(&mut self, id: PullId, result: Pulled) {
        match (self.shared.pulls.remove(&id), result) {
            (Some(Pull::Object { name, peer }), result) => self.pulled_object(&name, &peer, result),
            (Some(Pull::Log { stream, peer }), result) => {
                let seals = match result {
                    Pulled::Log(seals) => seals,
                    Pulled::Failed(why) => {
                        self.refuse_pull(&stream, &peer, why);
                        Vec::new()
                    }
                    Pulled::Object { .. } => Vec::new(),
                };
                if let Some((stream, shared)) = self.held(&stream) {
                    stream.pulled_log(id, &peer, &seals, shared);
                }
            }
            (None, _) => {}
        }
    }

    fn pulled_object(&mut self, name: &ObjectName, peer: &NodeId, result: Pulled) {
        let wanted =
            |gate: &Self| gate.streams.get(&name.stream).and_then(|stream| stream.named(name)).map(|n| n.digest);
        match result {
            Pulled::Object { digest, bytes } if wanted(self) == Some(digest) => {
                if self.make_room(length(&bytes)) {
                    if let Some((stream, shared)) = self.held(&name.stream) {
                        stream.fill(name, digest, shared.ledger.hold(bytes), shared.now.elapsed);
                    }
                    return;
                }
                self.refuse(AlertReason::Quarantine, &name.stream, format!("{name}: no memory for more media"));
            }
            Pulled::Object { .. } if wanted(self).is_some() => {
                self.refuse(
                    AlertReason::Digest,
                    &name.stream,
                    format!("{name}: peer {peer} answered with other bytes"),
                );
            }
            Pulled::Object { .. } | Pulled::Log(_) => {}
            Pulled::Failed(why) => self.refuse_pull(&name.stream, peer, why),
        }
        if let Some((stream, shared)) = self.held(&name.stream) {
            stream.pull_failed(name, shared);
        }
    }

    fn refuse_pull(&mut self, stream: &StreamId, peer: &NodeId, why: Option<(AlertReason, String)>) {
        if let Some((reason, why)) = why {
            self.refuse(reason, stream, format!("stream {stream}: peer {peer}: {why}"));
        }
    }

    pub(super) fn take_keys(&mut self, keyring: Arc<Keyring>) {
        self.shared.keyring = Arc::clone(&keyring);
        for stream in self.streams.values_mut() {
            stream.touch();
            stream.erase(&mut self.shared);
        }
        self.shared.outputs.push(Output::Keys(keyring));
        self.look_again();
    }

    pub(super) fn refuse(&mut self, reason: AlertReason, stream: &StreamId, detail: String) {
        if let Some((stream, _)) = self.held(stream) {
            stream.count(reason);
        }
        self.shared.refuse(reason, Some(stream), detail);
    }

    /// Whether `bytes` more fit. If not, drops what has left the playlists first.
    fn make_room(&mut self, bytes: u64) -> bool {
        let max = self.shared.settings.media_bytes_max;
        let fits = |gate: &Self| {
            let held = gate.shared.media_bytes.saturating_add(gate.shared.quarantine.bytes());
            held.saturating_add(bytes) <= max
        };
        if fits(self) {
            return true;
        }
        for stream in self.streams.values_mut() {
            stream.touch();
            stream.evict(&mut self.shared);
        }
        fits(self)
    }
}
