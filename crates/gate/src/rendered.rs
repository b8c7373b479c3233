//! Text of a playlist or document as it is sent: rendered and compressed once, with its entity tag. Pure.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use media::Digest;
use sha2::{Digest as _, Sha256};

use crate::ledger::Ledger;

/// Below this many bytes compression saves nothing: the answer is one packet either way.
const GZIP_BYTES_MIN: usize = 256;
/// How many bytes of the SHA-256 stand in an entity tag: 128 bits.
const ETAG_DIGEST_BYTES: usize = 16;

/// The entity tag of bytes with this SHA-256.
pub fn entity_tag(digest: Digest) -> String {
    hex::encode(digest.0.iter().copied().take(ETAG_DIGEST_BYTES).collect::<Vec<_>>())
}

/// Text that was rendered once and is sent many times, with its strong entity tag and, made when first asked for, its
/// compressed form. Cheap to clone; clones share the compressed form.
#[derive(Debug, Clone)]
pub struct Rendered(Arc<Text>);

#[derive(Debug)]
struct Text {
    identity: Bytes,
    /// Without quotes.
    tag: String,
    gzip: OnceLock<Option<Bytes>>,
    /// Made elsewhere, because it takes seconds.
    brotli: Option<Bytes>,
    /// Where its bytes are counted.
    ledger: Ledger,
}

impl Rendered {
    /// Takes the bytes. The entity tag is made of their SHA-256, so nodes that render the same bytes give the same tag.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self::counted_in(&Ledger::default(), bytes)
    }

    /// As [`Rendered::new`]; what it takes in memory is counted in `ledger`.
    pub fn counted_in(ledger: &Ledger, bytes: impl Into<Bytes>) -> Self {
        Self::made_of(ledger, bytes.into(), None)
    }

    /// As [`Rendered::new`], with the same bytes compressed (RFC 7932), if somebody has done that and it is shorter.
    pub fn with_brotli(bytes: impl Into<Bytes>, brotli: Option<Bytes>) -> Self {
        let identity = bytes.into();
        let brotli = brotli.filter(|brotli| brotli.len() < identity.len());
        Self::made_of(&Ledger::default(), identity, brotli)
    }

    fn made_of(ledger: &Ledger, bytes: Bytes, brotli: Option<Bytes>) -> Self {
        let identity = ledger.hold(bytes);
        let tag = entity_tag(Digest(Sha256::digest(&identity).into()));
        Self(Arc::new(Text { identity, tag, gzip: OnceLock::new(), brotli, ledger: ledger.clone() }))
    }

    /// The bytes as they were rendered.
    pub fn identity(&self) -> &Bytes {
        &self.0.identity
    }

    /// The bytes compressed (RFC 1952), the same for the same bytes; `None` when that would not be shorter.
    pub fn gzip(&self) -> Option<&Bytes> {
        self.0.gzip.get_or_init(|| gzip(&self.0.identity).map(|gzip| self.0.ledger.hold(gzip))).as_ref()
    }

    /// The bytes compressed (RFC 7932), where they came with that.
    pub fn brotli(&self) -> Option<&Bytes> {
        self.0.brotli.as_ref()
    }

    /// What stands between the quotes of the entity tag of the uncompressed form.
    pub fn tag(&self) -> &str {
        &self.0.tag
    }
}

fn gzip(identity: &Bytes) -> Option<Bytes> {
    if identity.len() < GZIP_BYTES_MIN {
        return None;
    }
    // The header carries no time of modification, so two nodes make the same bytes.
    let mut encoder = GzEncoder::new(Vec::with_capacity(identity.len() / 3), Compression::default());
    let written = encoder.write_all(identity).and_then(|()| encoder.finish());
    let compressed = written.expect("writing to memory does not fail");
    (compressed.len() < identity.len()).then(|| compressed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_bytes_have_the_same_tag_and_the_same_compressed_form() {
        let text = "#EXTM3U\n".repeat(100);
        let (one, other) = (Rendered::new(text.clone()), Rendered::new(text.clone()));
        assert_eq!(one.tag(), other.tag());
        assert_eq!(one.gzip(), other.gzip());
        assert!(one.gzip().unwrap().len() < text.len());
        assert_ne!(one.tag(), Rendered::new("#EXTM3U\n".repeat(99)).tag());
    }

    #[test]
    fn text_counts_in_memory_until_no_response_holds_it() {
        let ledger = Ledger::default();
        let text = Rendered::counted_in(&ledger, "#EXTM3U\n".repeat(100));
        let (plain, gzip) = (text.identity().clone(), text.gzip().cloned().unwrap());
        drop(text);
        assert_eq!(ledger.bytes(), (plain.len() + gzip.len()) as u64, "two responses are under way");
        drop((plain, gzip));
        assert_eq!(ledger.bytes(), 0);
    }

    #[test]
    fn what_would_not_get_shorter_is_not_compressed() {
        assert_eq!(Rendered::new("#EXTM3U\n").gzip(), None);
        let noise: Vec<u8> = (0..64_u32).flat_map(|n| <[u8; 32]>::from(Sha256::digest(n.to_be_bytes()))).collect();
        assert_eq!(Rendered::new(noise).gzip(), None);
    }
}
