//! `conformance rtmp`: a publisher that can send anything, and checks of what servers do with it.
//!
//! Answers "does this server survive what encoders and strangers really send". The core is pure: [`amf`], [`chunk`],
//! [`handshake`] and [`flv`] write bytes with every choice open, [`take`] and [`script`] combine them, [`cases`] is the table,
//! [`judge`] compares. [`driver`], [`watch`], [`probe`] and [`run`] are the shell. It shares no code with any server, because a
//! mistake in shared code would pass.

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
