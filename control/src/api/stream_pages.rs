//! What a tenant says of a stream's pages, as members of its row: who may watch, which sites may use it, its chat. Pure.

use access::AllowedOrigin;
use catalogue::Pages;
use metadata::limits::ORIGINS_MAX;
use metadata::{ChatWriters, Embedding, Visibility};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Invalid;

/// Longest origin in bytes: all of a stream's stand in a header, and servers and browsers agree on headers of up to 8 KiB.
const ORIGIN_BYTES_MAX: usize = 255;
/// Longest pause between two messages of one writer in a chat, in seconds.
const SLOW_S_MAX: u32 = 3_600;

/// A chat beside the player.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct ChatSettings {
    /// Whether there is one.
    on: bool,
    /// Seconds between two messages of one writer, at most 3600; 0: no more than the server's own limits.
    slow_s: u32,
    /// `everybody` who may watch, or who has a viewer `token` with `chat`.
    writers: String,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self { on: false, slow_s: 0, writers: ChatWriters::default().name().to_owned() }
    }
}

/// Members of a stream's row about its pages.
#[derive(Debug)]
pub(crate) struct PageMembers<'a> {
    pub(crate) visibility: &'a str,
    pub(crate) origins: &'a [String],
    pub(crate) embed: &'a str,
    pub(crate) chat: &'a ChatSettings,
}

impl PageMembers<'_> {
    /// Notes what is not possible.
    pub(crate) fn check(&self, errors: &mut Vec<Invalid>) {
        let mut note = |pointer: &str, code| errors.push(Invalid { pointer: pointer.to_owned(), code });
        if Visibility::parse(self.visibility).is_none() {
            note("#/visibility", "unknown_value");
        }
        if Embedding::parse(self.embed).is_none() {
            note("#/embed", "unknown_value");
        }
        if self.origins.len() > ORIGINS_MAX {
            note("#/origins", "too_many");
        }
        for (at, origin) in self.origins.iter().enumerate().take(ORIGINS_MAX) {
            let is_one = origin.len() <= ORIGIN_BYTES_MAX && AllowedOrigin::parse(origin).is_ok();
            if !is_one || self.origins.iter().take(at).any(|other| other == origin) {
                note(&format!("#/origins/{at}"), if is_one { "twice" } else { "wrong_form" });
            }
        }
        if ChatWriters::parse(&self.chat.writers).is_none() {
            note("#/chat/writers", "unknown_value");
        }
        if self.chat.slow_s > SLOW_S_MAX {
            note("#/chat/slow_s", "too_large");
        }
    }

    /// What the catalogue keeps.
    pub(crate) fn kept(&self) -> Pages {
        Pages {
            visibility: self.visibility.to_owned(),
            origins: self.origins.to_vec(),
            embed: self.embed.to_owned(),
            has_chat: self.chat.on,
            chat_slow_s: self.chat.slow_s.into(),
            chat_writers: self.chat.writers.clone(),
        }
    }
}

/// The chat's members of what the catalogue keeps.
pub(crate) fn chat_of(pages: &Pages) -> ChatSettings {
    let slow_s = u32::try_from(pages.chat_slow_s).unwrap_or(SLOW_S_MAX);
    ChatSettings { on: pages.has_chat, slow_s, writers: pages.chat_writers.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(members: &PageMembers<'_>) -> Vec<(String, &'static str)> {
        let mut errors = Vec::new();
        members.check(&mut errors);
        errors.into_iter().map(|error| (error.pointer, error.code)).collect()
    }

    #[test]
    fn each_member_that_is_not_possible_is_named() {
        let chat = ChatSettings { slow_s: 4_000, writers: "choir".to_owned(), ..ChatSettings::default() };
        let origins = ["https://a.example", "https://a.example", "https://a.example/x", "*"].map(str::to_owned);
        let members = PageMembers { visibility: "secret", origins: &origins, embed: "off", chat: &chat };
        let expected = [
            ("#/visibility", "unknown_value"),
            ("#/embed", "unknown_value"),
            ("#/origins/1", "twice"),
            ("#/origins/2", "wrong_form"),
            ("#/origins/3", "wrong_form"),
            ("#/chat/writers", "unknown_value"),
            ("#/chat/slow_s", "too_large"),
        ];
        assert_eq!(codes(&members), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
        let many: Vec<String> = (0..=ORIGINS_MAX).map(|n| format!("https://a{n}.example")).collect();
        let (chat, visibility, embed) = (ChatSettings::default(), "public", "listed");
        assert_eq!(
            codes(&PageMembers { visibility, origins: &many, embed, chat: &chat }),
            [("#/origins".to_owned(), "too_many")]
        );
        assert_eq!(codes(&PageMembers { visibility, origins: &[], embed, chat: &chat }), []);
    }
}
