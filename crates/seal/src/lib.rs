//! Seals.
mod body;
pub use body::{Object, Rendition, SealBody, SealKind};
