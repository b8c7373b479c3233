//!

pub mod viewers;
