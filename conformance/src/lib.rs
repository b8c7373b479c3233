//! `conformance`: checks an HLS stream from outside against RFC 8216bis and Apple's authoring specification.
//!
//! Answers "what would a strict client say of this server", for any server. It depends on nothing else of Sealcast, neither to
//! read playlists nor to read media, so that what it proves holds from outside.
//!
//! The core is pure: [`playlist`] and [`media`] read, [`observation`] records, [`rows`] judge, [`report`] writes. [`watch`] is
//! the shell: it polls, downloads, probes and fills the record.

pub mod cli;
pub mod media;
pub mod observation;
pub mod playlist;
pub mod report;
pub mod rows;
pub mod rtmp;
pub mod verdict;
pub mod watch;
