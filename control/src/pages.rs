//! What streams say of pages, between the catalogue and the metadata log. Pure.

use catalogue::Pages;
use metadata::{ChatRules, ChatWriters, Embedding, PageSettings};

/// What the log has of what the catalogue keeps. Names of a newer version are the strictest that this one knows.
pub(crate) fn page_settings(pages: &Pages) -> PageSettings {
    let slow_s = u64::try_from(pages.chat_slow_s).unwrap_or(0);
    let writers = ChatWriters::parse(&pages.chat_writers).unwrap_or(ChatWriters::Token);
    PageSettings {
        origins: pages.origins.clone(),
        embed: Embedding::parse(&pages.embed).unwrap_or(Embedding::Nowhere),
        chat: pages.has_chat.then_some(ChatRules { slow_s, writers }),
    }
}

/// What the catalogue keeps of what the log has; the log does not tell the pace of a chat that is off.
pub(crate) fn kept_pages(settings: &PageSettings) -> Pages {
    let chat = settings.chat.unwrap_or_default();
    Pages {
        origins: settings.origins.clone(),
        embed: settings.embed.name().to_owned(),
        has_chat: settings.chat.is_some(),
        chat_slow_s: i64::try_from(chat.slow_s).unwrap_or(0),
        chat_writers: chat.writers.name().to_owned(),
        ..Pages::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_has_leads_back_to_what_the_catalogue_keeps() {
        for (embed, chat) in [
            (Embedding::Listed, None),
            (Embedding::Anywhere, Some(ChatRules { slow_s: 30, writers: ChatWriters::Token })),
            (Embedding::Nowhere, Some(ChatRules::default())),
        ] {
            let settings = PageSettings { origins: vec!["https://town.example".to_owned()], embed, chat };
            assert_eq!(page_settings(&kept_pages(&settings)), settings);
        }
        assert_eq!(page_settings(&Pages::default()), PageSettings::default());
        let newer =
            Pages { embed: "friends".to_owned(), has_chat: true, chat_writers: "choir".to_owned(), ..Pages::default() };
        let strict = page_settings(&newer);
        assert_eq!((strict.embed, strict.chat.unwrap().writers), (Embedding::Nowhere, ChatWriters::Token));
    }
}
