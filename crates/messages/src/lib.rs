//! MQTT topics and the JSON payloads on them: what nodes say to each other besides seals and grants.
//!
//! Owns the names and shapes of the control plane (`docs/reference/mqtt.md`). Deliberately knows nothing of MQTT itself: that is
//! `bus`. Pure.

mod input;
mod payload;
mod topic;

pub use input::{AudioInput, Drops, InputReport, Severity, VideoInput, Warning};
pub use payload::{Alert, AlertReason, Load, NodeState, Policy, Presence, Role, SessionInfo, SessionState};
pub use topic::{InvalidTopic, Prefix, Topic};
