//! MQTT topics and their JSON payloads, and the table of streams: the messages between nodes, apart from seals and grants.
//!
//! Owns the names and shapes of the control plane (`docs/reference/mqtt.md`), and how stream keys are recognised. Deliberately knows
//! nothing of MQTT itself (`bus` does). Pure.

mod chat;
mod delegate;
mod input;
mod payload;
#[cfg(not(target_arch = "wasm32"))]
mod stream_table;
mod topic;

pub use chat::{
    CHAT_HISTORY_MAX, CHAT_NAME_BYTES_MAX, CHAT_NAME_CHARS_MAX, CHAT_TEXT_BYTES_MAX, CHAT_TEXT_CHARS_MAX, ChatChanges,
    ChatMessage, ChatRole,
};
pub use delegate::{Delegate, Delegates};
pub use input::{AudioInput, Drops, InputReport, Severity, VideoInput, Warning};
pub use payload::{Alert, AlertReason, Load, NodeState, Policy, Presence, Role, SessionInfo, SessionState, TenantLoad};
#[cfg(not(target_arch = "wasm32"))]
pub use stream_table::{KeyMac, MacForm, MacKey, Pepper, StreamEntry, StreamTable};
pub use topic::{InvalidTopic, Prefix, Topic};
