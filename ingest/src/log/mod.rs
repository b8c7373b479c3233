//! The seal log of a stream, as its author writes it.
//!
//! [`epoch_log`] makes rows into seal bodies, [`outage`] makes the rows of a publisher that is away, and [`writer`] writes the epochs, one
//! after the other. These are pure. [`heads`] finds where the log stands: it asks the broadcast nodes and reads this node's disk, which
//! [`head_keeper`] writes behind the log.

mod epoch_log;
pub(crate) mod head_keeper;
pub(crate) mod heads;
mod outage;
pub(crate) mod position;
pub(crate) mod writer;
