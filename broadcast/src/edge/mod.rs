//! An edge: serves streams that other nodes own. It folds the same log, and fetches bytes from the owners when a viewer wants them.
//!
//! Owns the fetching: one pull per object, however many ask, from the nearest owner that is well, and from the next one when
//! that fails or takes too long. Owns what was fetched ([`cache`]), and fetches ahead while a rendition is watched
//! ([`prefetch`]). Bytes are served only when their SHA-256 is the one that an admitted seal names.

mod cache;
mod fetch;
mod sources;

pub(crate) use fetch::Fetcher;
