//!

pub mod broker;
pub mod bus;
