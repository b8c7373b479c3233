//! An edge: serves streams that other nodes own. It folds the same log, and fetches bytes from the owners when a viewer wants them.
//!
//! Owns the fetching: one pull per object however many ask, from the nearest owner that is well, the next one when that fails or
//! takes too long; what was fetched ([`cache`]); and fetching ahead while a stream has viewers ([`prefetch`]). Bytes pass the
//! same gate as everywhere: their SHA-256 is the one that an admitted seal names, or they are not served.

mod cache;
mod fetch;
pub(crate) mod prefetch;
mod sources;

pub(crate) use fetch::Fetcher;
