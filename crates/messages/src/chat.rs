//! Chat on the bus: what changed in the chat of a stream. It is shown to people and steers nothing; whoever may publish on the bus can
//! forge it. Pure.

use serde::{Deserialize, Serialize};

/// Newest messages of a stream that are kept, shown and sent: what somebody who comes later reads.
pub const CHAT_HISTORY_MAX: usize = 100;
/// Longest text of a message in characters, and in bytes.
pub const CHAT_TEXT_CHARS_MAX: usize = 500;
pub const CHAT_TEXT_BYTES_MAX: usize = 2_000;
/// Longest name of a writer in characters, and in bytes.
pub const CHAT_NAME_CHARS_MAX: usize = 32;
pub const CHAT_NAME_BYTES_MAX: usize = 128;
/// Longest of the other texts of a message, in bytes.
const ID_BYTES_MAX: usize = 40;

/// What a writer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    /// Anybody, under a name of their choice.
    Guest,
    /// The holder of a viewer token.
    Viewer,
    /// Whoever may delete messages and ban writers.
    Moderator,
}

impl ChatRole {
    /// Its name, also in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Viewer => "viewer",
            Self::Moderator => "moderator",
        }
    }

    /// The role of a name; a guest's for any other.
    pub fn of_name(name: &str) -> Self {
        match name {
            "viewer" => Self::Viewer,
            "moderator" => Self::Moderator,
            _ => Self::Guest,
        }
    }
}

/// A message as everybody gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    pub id: String,
    pub author: String,
    pub role: ChatRole,
    /// Four characters that tell writers of one name apart; they follow from who the writer is, under a key.
    pub tag: String,
    /// `None` once it was deleted.
    pub text: Option<String>,
    /// When it was written, in Unix milliseconds.
    pub at: i64,
    /// Place of its last change among the changes of its chat.
    pub changed: u64,
}

/// Messages that are new, or were deleted, in the order of their changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatChanges {
    /// The change after which these come: whoever does not have that one lacks others. 0: the sender does not know.
    pub previous: u64,
    pub messages: Vec<ChatMessage>,
}

impl ChatChanges {
    /// Whether nothing in it is larger than control makes it: it comes from the bus.
    pub fn is_plausible(&self) -> bool {
        let is_fine = |message: &ChatMessage| {
            let text = message.text.as_deref().unwrap_or_default();
            message.id.len() <= ID_BYTES_MAX
                && message.tag.len() <= ID_BYTES_MAX
                && message.author.len() <= CHAT_NAME_BYTES_MAX
                && text.len() <= CHAT_TEXT_BYTES_MAX
        };
        self.messages.len() <= 2 * CHAT_HISTORY_MAX && self.messages.iter().all(is_fine)
    }
}
