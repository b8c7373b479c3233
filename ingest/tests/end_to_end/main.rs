//! The ingest role from RTMP to sealed bytes: real ffmpeg publishers, a real broker, real certificates, real HTTP/2.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attacks;
mod client;
mod cluster;
mod impostors;
mod limits;
mod log;
mod outage;
mod owners;
mod publishing;
mod receiver;
mod rtmps;
mod tenants;
mod thumbnails;
mod tokens;
