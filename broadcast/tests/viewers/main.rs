//! The viewers' side over real TLS, in HTTP/2 and HTTP/1.1, on a shelf with fixed content.
#![allow(clippy::unwrap_used, reason = "tests")]

mod api;
mod direct;
mod hostile;
mod media_objects;
mod playlists;
mod shelf;
mod site;
mod web_app;
