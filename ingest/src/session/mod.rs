//! The task of a stream: one state machine, and the shell that carries out what it says.
//!
//! [`machine`] is the core: publishers, epochs, outages, takeovers, the slate, the end of the stream. [`phase`] has its inputs, outputs and
//! states. [`driver`] is the one loop around it.

mod driver;
mod machine;
mod phase;
#[cfg(test)]
mod tests;

pub(crate) use driver::{Handles, drive};
