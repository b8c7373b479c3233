//! Compares everything that was served, and finds playlists that contradict one another, logs that fork, and bytes without a seal. Pure.

use std::collections::BTreeMap;

use media::{Epoch, LogSequence, ObjectName};
use seal::Sealed;

use super::playlist::{Listing, Place};

/// Most findings that are kept; more show nothing new.
const FINDINGS_MAX: usize = 20;

/// Source of a statement: an observer, and the node or balancer that it asked.
pub type Source = String;

#[derive(Debug, PartialEq, Clone)]
struct SegmentFacts {
    uri: Option<String>,
    extinf: Option<String>,
    date: Option<String>,
    discontinuity: u64,
    gap: Option<bool>,
}

/// Everything that was served so far.
#[derive(Debug, Default)]
pub struct Ledger {
    segments: BTreeMap<(String, u64), (SegmentFacts, Source)>,
    parts: BTreeMap<(String, Place), (String, Source)>,
    uris: BTreeMap<(String, String), Place>,
    ends: BTreeMap<(Source, String), (u64, Place)>,
    log: BTreeMap<(Epoch, LogSequence), (String, Source)>,
    /// Digest and length of each object.
    sealed: BTreeMap<String, (String, u64)>,
    served: BTreeMap<String, (Vec<u8>, Source)>,
    findings: Vec<String>,
    /// Objects whose bytes were compared with a seal.
    pub checked: usize,
}

impl Ledger {
    pub fn find(&mut self, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            eprintln!("chaos: FOUND {what}");
            self.findings.push(what);
        }
    }

    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Takes a playlist of a rendition. What a number or a URI means must never change, from any source, and no source may go back.
    pub fn listed(&mut self, source: &str, rendition: &str, listing: &Listing) {
        for segment in &listing.segments {
            let (uri, extinf) = segment.whole.clone().unzip();
            let facts = SegmentFacts {
                uri,
                extinf,
                date: segment.date.clone(),
                discontinuity: segment.discontinuity,
                gap: segment.whole.is_some().then_some(segment.gap),
            };
            self.segment(source, rendition, segment.msn, facts);
            for (index, part) in segment.parts.iter().enumerate() {
                let said = format!("{} {} gap={}", part.uri, part.duration, part.gap);
                let key = (rendition.to_owned(), (segment.msn, index));
                let place = format!("{rendition} {}.{index}", segment.msn);
                match self.parts.get(&key) {
                    Some((before, who)) if *before != said => {
                        self.find(format!("{place}: {source} lists {said}, {who} listed {before}"));
                    }
                    Some(_) => {}
                    None => _ = self.parts.insert(key, (said, source.to_owned())),
                }
                if !part.gap {
                    self.named(source, rendition, &part.uri, (segment.msn, index));
                }
            }
        }
        let key = (source.to_owned(), rendition.to_owned());
        let now = (listing.media_sequence, listing.end());
        if let Some(before) = self.ends.get(&key)
            && (now.0 < before.0 || now.1 < before.1)
        {
            self.find(format!("{rendition}: {source} went back from {before:?} to {now:?}"));
        }
        self.ends.insert(key, now);
    }

    fn segment(&mut self, source: &str, rendition: &str, msn: u64, facts: SegmentFacts) {
        if let (Some(uri), Some(false)) = (&facts.uri, facts.gap) {
            self.named(source, rendition, uri, (msn, usize::MAX));
        }
        let key = (rendition.to_owned(), msn);
        let Some((known, who)) = self.segments.get_mut(&key) else {
            self.segments.insert(key, (facts, source.to_owned()));
            return;
        };
        let differs = facts.discontinuity != known.discontinuity
            || differ(&facts.uri, &known.uri)
            || differ(&facts.extinf, &known.extinf)
            || differ(&facts.date, &known.date)
            || differ(&facts.gap, &known.gap);
        if differs {
            let what = format!("{rendition} {msn}: {source} lists {facts:?}, {who} listed {known:?}");
            return self.find(what);
        }
        if known.uri.is_none() && facts.uri.is_some() {
            *known = facts;
        }
    }

    /// Checks that a URI stands only at one place.
    fn named(&mut self, source: &str, rendition: &str, uri: &str, place: Place) {
        let before = *self.uris.entry((rendition.to_owned(), uri.to_owned())).or_insert(place);
        if before != place {
            self.find(format!("{rendition}: {source} lists {uri} at {place:?}, it was at {before:?}"));
        }
    }

    /// Takes a seal that was verified under the root key.
    pub fn sealed(&mut self, source: &str, stream: &media::StreamId, sealed: &Sealed) {
        let (body, digest) = (sealed.body(), sealed.digest().to_string());
        let place = (body.epoch, body.sequence);
        match self.log.get(&place) {
            Some((known, who)) if *known != digest => {
                self.find(format!("the log forks at {place:?}: {source} has {digest}, {who} had {known}"));
            }
            Some(_) => return,
            None => _ = self.log.insert(place, (digest, source.to_owned())),
        }
        for object in body.objects.iter().filter(|object| !object.gap) {
            let rendition = object.rendition.clone();
            let name = ObjectName { stream: stream.clone(), rendition, epoch: body.epoch, slot: object.slot };
            self.sealed.insert(name.to_string(), (object.digest.to_string(), object.length));
        }
        self.compare();
    }

    /// Takes bytes that were served under a path.
    pub fn served(&mut self, source: &str, path: &str, bytes: &[u8]) {
        self.served.insert(path.to_owned(), (bytes.to_vec(), source.to_owned()));
        self.compare();
    }

    /// Compares served bytes with seals.
    fn compare(&mut self) {
        let ready: Vec<String> = self.served.keys().filter(|path| self.sealed.contains_key(*path)).cloned().collect();
        for path in ready {
            let Some((bytes, source)) = self.served.remove(&path) else { continue };
            self.checked += 1;
            let digest = seal::digest(&bytes).to_string();
            if self.sealed.get(&path).is_none_or(|(sealed, _)| *sealed != digest) {
                self.find(format!("{path} from {source} is not what was sealed: {digest}"));
            }
        }
    }

    /// Served paths that no seal names so far.
    pub fn unsealed(&self) -> Vec<String> {
        let unsealed = self.served.iter().filter(|(path, (bytes, _))| !self.is_sealed_in_parts(path, bytes));
        unsealed.map(|(path, (_, source))| format!("{path} from {source}")).collect()
    }

    /// Whether the parts of a segment are sealed, as when a session breaks off within it.
    fn is_sealed_in_parts(&self, path: &str, bytes: &[u8]) -> bool {
        let Some(segment) = path.strip_suffix(".m4s") else { return false };
        let mut rest = bytes;
        for index in 0.. {
            let Some((digest, length)) = self.sealed.get(&format!("{segment}.{index}.m4s")) else { break };
            let length = usize::try_from(*length).expect("it was in memory");
            let Some((part, after)) = rest.split_at_checked(length) else { return false };
            if seal::digest(part).to_string() != *digest {
                return false;
            }
            rest = after;
        }
        rest.is_empty()
    }

    /// End of a source's newest playlist.
    pub fn end(&self, source: &str, rendition: &str) -> Option<Place> {
        self.ends.get(&(source.to_owned(), rendition.to_owned())).map(|(_, end)| *end)
    }

    /// The furthest end of any source.
    pub fn newest(&self, rendition: &str) -> Option<Place> {
        self.ends.iter().filter(|((_, of), _)| of == rendition).map(|(_, (_, end))| *end).max()
    }
}

/// Whether both are present and different.
fn differ<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "#EXTM3U\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.605\n#EXT-X-MEDIA-SEQUENCE:7\n\
        #EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MAP:URI=\"2/init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T01:00:00.000Z\n\
        #EXTINF:2.000000,\n2/7.m4s\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T01:00:02.000Z\n\
        #EXT-X-PART:DURATION=0.500000,URI=\"2/8.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.500000,URI=\"2/8.1.m4s\"\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2/8.2.m4s\"\n";

    /// Number of findings when one node lists `one` and another `other`.
    fn found(one: &str, other: &str) -> usize {
        let mut ledger = Ledger::default();
        for (source, text) in [("b1", one), ("b2", other)] {
            ledger.listed(source, "360p", &Listing::parse(text).unwrap());
        }
        ledger.findings().len()
    }

    #[test]
    fn nodes_that_say_the_same_or_more_do_not_contradict() {
        let whole = LIST.replace("#EXT-X-PRELOAD", "#EXTINF:1.000000,\n2/8.m4s\n#EXT-X-PRELOAD");
        assert_eq!((found(LIST, LIST), found(LIST, &whole), found(&whole, LIST)), (0, 0, 0));
    }

    #[test]
    fn each_contradiction_is_found() {
        for (of, becomes) in [
            ("#EXTINF:2.0", "#EXTINF:2.1"),
            ("01:00:02.000Z", "01:00:02.001Z"),
            ("\n2/7.m4s", "\n3/7.m4s"),
            ("\n2/7.m4s", "\n2/8.0.m4s"),
            ("DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:2"),
            ("#EXTINF:2.0", "#EXT-X-DISCONTINUITY\n#EXTINF:2.0"),
            ("#EXTINF:2.0", "#EXT-X-GAP\n#EXTINF:2.0"),
            ("2/8.1.m4s\"", "2/8.1.m4s\",GAP=YES"),
            ("MEDIA-SEQUENCE:7", "MEDIA-SEQUENCE:20"),
        ] {
            assert!(LIST.contains(of) && found(LIST, &LIST.replacen(of, becomes, 1)) > 0, "{of} -> {becomes}");
        }
    }

    #[test]
    fn who_goes_back_is_found() {
        let (from, to) = LIST.split_once("#EXT-X-PART:DURATION=0.500000,URI=\"2/8.1").unwrap();
        let back = format!("{from}{}", to.split_once('\n').unwrap().1);
        let mut ledger = Ledger::default();
        for text in [LIST, &back] {
            ledger.listed("b1", "360p", &Listing::parse(text).unwrap());
        }
        assert_eq!(ledger.findings().len(), 1);
        assert_eq!(ledger.end("b1", "360p"), Some((8, 1)));
    }

    #[test]
    fn bytes_that_nobody_sealed_are_found() {
        let mut ledger = Ledger::default();
        let mut seals = |path: &str, bytes: &[u8]| {
            let length = bytes.len() as u64;
            ledger.sealed.insert(format!("/live/hall/360p/{path}"), (seal::digest(bytes).to_string(), length));
        };
        seals("2/7.m4s", b"right");
        seals("2/9.0.m4s", b"one");
        seals("2/9.1.m4s", b"two");
        ledger.served("b1", "/live/hall/360p/2/7.m4s", b"right");
        assert_eq!((ledger.findings().len(), ledger.checked), (0, 1));
        ledger.served("b1", "/live/hall/360p/2/7.m4s", b"wrong");
        assert_eq!(ledger.findings().len(), 1);
        ledger.served("b1", "/live/hall/360p/2/8.m4s", b"of no seal");
        assert_eq!(ledger.unsealed().len(), 1);
        for (bytes, unsealed) in [(&b"onetwo"[..], 1), (b"onetwothree", 2), (b"onet", 2), (b"onetow", 2)] {
            ledger.served("b1", "/live/hall/360p/2/9.m4s", bytes);
            assert_eq!(ledger.unsealed().len(), unsealed, "{bytes:?}");
        }
    }
}
