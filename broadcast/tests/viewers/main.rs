//! The viewers' side over real TLS, in HTTP/2 and HTTP/1.1, on snapshots with fixed content.
#![allow(clippy::unwrap_used, reason = "tests")]

mod api;
mod chat;
mod direct;
mod embed;
mod hostile;
mod media_objects;
mod playlists;
mod rendering;
mod site;
mod snapshots;
mod tokens;
mod web_app;
