//! The ingest role from RTMP to sealed bytes: real ffmpeg publishers, a real broker, real certificates, real HTTP/2.

mod attacks;
mod cluster;
mod log;
mod publishing;
mod receiver;
