//! What a stream's row says of pages: which sites may show and read the stream, and whether viewers may write beside it. Nothing here
//! says who may watch, so a version that does not know these fields ignores them. Pure.

use seal::Refusal;
use seal::wire::Reader;

use crate::fields::{Fields, FieldsWriter};
use crate::limits::{ORIGINS_MAX, TEXT_BYTES_MAX};

/// Fields of the row; all of them may be ignored.
const ORIGINS: u64 = 81;
const EMBED: u64 = 82;
const CHAT_SLOW_S: u64 = 83;
const CHAT_WRITERS: u64 = 84;

/// Which sites may show the player in a frame, besides the cluster's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Embedding {
    /// Those that the stream's origins list.
    #[default]
    Listed,
    /// Every site.
    Anywhere,
    /// No other site.
    Nowhere,
}

impl Embedding {
    pub const ALL: [Self; 3] = [Self::Listed, Self::Anywhere, Self::Nowhere];

    /// Its name in the API and in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Anywhere => "anywhere",
            Self::Nowhere => "nowhere",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|embedding| embedding.name() == name)
    }

    const fn number(self) -> Option<u64> {
        match self {
            Self::Listed => None,
            Self::Anywhere => Some(1),
            Self::Nowhere => Some(2),
        }
    }
}

/// Who may write in the chat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChatWriters {
    /// Everybody who may watch, under a name of their choice.
    #[default]
    Everybody,
    /// Holders of viewer tokens that allow it, and whoever moderates.
    Token,
}

impl ChatWriters {
    pub const ALL: [Self; 2] = [Self::Everybody, Self::Token];

    /// Its name in the API and in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Everybody => "everybody",
            Self::Token => "token",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|writers| writers.name() == name)
    }

    const fn number(self) -> Option<u64> {
        match self {
            Self::Everybody => None,
            Self::Token => Some(1),
        }
    }
}

/// The rules of a chat that is on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChatRules {
    /// Seconds between two messages of one writer; 0: no more than the server's own limits.
    pub slow_s: u64,
    pub writers: ChatWriters,
}

/// What the row says of pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageSettings {
    /// Sites that may read the stream by scripts and show its player, as `https://HOST`; empty: every site may read it, and none but
    /// the cluster's own shows its player.
    pub origins: Vec<String>,
    pub embed: Embedding,
    /// The chat beside the player; `None` when there is none.
    pub chat: Option<ChatRules>,
}

impl PageSettings {
    pub(crate) fn write(&self, w: FieldsWriter) -> FieldsWriter {
        let origins = Some(&self.origins).filter(|origins| !origins.is_empty());
        w.put_some(ORIGINS, origins, |w, origins| {
            w.array(origins.len());
            origins.iter().for_each(|origin| _ = w.text(origin));
        })
        .put_some(EMBED, self.embed.number(), |w, number| _ = w.uint(number))
        .put_some(CHAT_SLOW_S, self.chat.map(|chat| chat.slow_s), |w, seconds| _ = w.uint(seconds))
        .put_some(CHAT_WRITERS, self.chat.and_then(|chat| chat.writers.number()), |w, number| _ = w.uint(number))
    }

    /// Values of a newer version are the strictest that this one knows.
    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, Refusal> {
        let origins = f.find(ORIGINS, |r| r.list(ORIGINS_MAX, origin))?.unwrap_or_default();
        let embed = f.find(EMBED, Reader::uint)?;
        let slow_s = f.find(CHAT_SLOW_S, Reader::uint)?;
        let writers = f.find(CHAT_WRITERS, Reader::uint)?;
        let strictest = |number| match number {
            None => Embedding::Listed,
            Some(1) => Embedding::Anywhere,
            Some(_) => Embedding::Nowhere,
        };
        let writers = if writers.is_none() { ChatWriters::Everybody } else { ChatWriters::Token };
        Ok(Self { origins, embed: strictest(embed), chat: slow_s.map(|slow_s| ChatRules { slow_s, writers }) })
    }
}

/// What stands in the policies of pages: nothing that could end one directive and begin another.
fn origin(r: &mut Reader<'_>) -> Result<String, Refusal> {
    let text = r.text()?;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:/*".contains(&byte);
    if text.len() > TEXT_BYTES_MAX || !text.bytes().all(is_plain) {
        return Err(Refusal::implausible("an origin that is none"));
    }
    Ok(text.to_owned())
}
