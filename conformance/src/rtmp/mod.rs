//! `conformance rtmp`: a publisher that can send anything, and what servers make of it.
//!
//! Owns the question "does this server survive what encoders and strangers really send". The core is pure: [`amf`], [`chunk`],
//! [`handshake`] and [`flv`] write bytes with every choice open, [`take`] and [`script`] put them together, [`cases`] are the table,
//! [`judge`] compares. [`driver`], [`watch`], [`probe`] and [`run`] are the shell. Deliberately another implementation than any
//! server's: what both got wrong would pass.

pub mod amf;
pub mod cases;
pub mod chunk;
pub mod clip;
pub mod driver;
pub mod flv;
pub mod handshake;
pub mod judge;
pub mod probe;
pub mod run;
pub mod script;
pub mod take;
pub mod watch;
