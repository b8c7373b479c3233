//! The newest messages of one chat on a node. Control has them all, and the bus brings changes; a change before which others are missing
//! is asked for. Pure.

use std::collections::VecDeque;

use messages::{CHAT_HISTORY_MAX, ChatChanges, ChatMessage};

/// What changes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Bus,
    /// The answer to a question: nothing is missing before it.
    Control,
}

/// What came of changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// These are new here.
    New(Vec<ChatMessage>),
    /// Others are missing before them.
    Lacks,
}

/// What somebody gets who has read up to a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Since {
    /// What the reader has is replaced by `messages`, and not added to.
    pub(super) is_reset: bool,
    pub(super) messages: Vec<ChatMessage>,
}

#[derive(Debug, Default)]
pub(super) struct Room {
    /// In the order in which they were written. Deleted ones stay, without their texts, for whoever has them on screen.
    messages: VecDeque<ChatMessage>,
    /// The newest change.
    head: u64,
    /// The newest change of a message that is not kept any more.
    forgotten: u64,
    /// Control has answered once.
    is_filled: bool,
}

impl Room {
    pub(super) const fn head(&self) -> u64 {
        self.head
    }

    pub(super) const fn is_filled(&self) -> bool {
        self.is_filled
    }

    pub(super) fn take(&mut self, changes: ChatChanges, source: Source) -> Taken {
        match source {
            Source::Control => self.is_filled = true,
            // 0: control does not know, because it was started again.
            Source::Bus if !self.is_filled || changes.previous == 0 || changes.previous > self.head => {
                return Taken::Lacks;
            }
            Source::Bus => {}
        }
        let before = self.head;
        let new: Vec<ChatMessage> = changes.messages.into_iter().filter(|message| message.changed > before).collect();
        for message in &new {
            self.head = self.head.max(message.changed);
            self.put(message.clone());
        }
        Taken::New(new)
    }

    fn put(&mut self, message: ChatMessage) {
        match self.messages.iter_mut().find(|known| known.id == message.id) {
            Some(known) => *known = message,
            // It was forgotten before it was deleted.
            None if message.text.is_none() => self.forgotten = self.forgotten.max(message.changed),
            None => self.messages.push_back(message),
        }
        while self.messages.len() > CHAT_HISTORY_MAX {
            let oldest = self.messages.pop_front();
            self.forgotten = self.forgotten.max(oldest.map_or(0, |oldest| oldest.changed));
        }
    }

    /// What is new for whoever has read up to `last`; `None` for whoever has read nothing.
    pub(super) fn since(&self, last: Option<u64>) -> Since {
        match last {
            Some(last) if last >= self.forgotten && self.is_filled => {
                let mut messages: Vec<ChatMessage> =
                    self.messages.iter().filter(|message| message.changed > last).cloned().collect();
                messages.sort_by_key(|message| message.changed);
                Since { is_reset: false, messages }
            }
            _ => {
                let shown = self.messages.iter().filter(|message| message.text.is_some());
                Since { is_reset: true, messages: shown.cloned().collect() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use messages::ChatRole;

    use super::*;

    fn said(n: u64) -> ChatMessage {
        ChatMessage {
            id: format!("msg_{n}"),
            author: "Ann".to_owned(),
            role: ChatRole::Guest,
            tag: "00ff".to_owned(),
            text: Some(format!("number {n}")),
            at: 0,
            changed: n,
        }
    }

    fn deleted(n: u64, changed: u64) -> ChatMessage {
        ChatMessage { text: None, changed, ..said(n) }
    }

    fn changes(previous: u64, messages: Vec<ChatMessage>) -> ChatChanges {
        ChatChanges { previous, messages }
    }

    fn filled(upto: u64) -> Room {
        let mut room = Room::default();
        room.take(changes(0, (1..=upto).map(said).collect()), Source::Control);
        room
    }

    #[test]
    fn change_before_which_others_are_missing_is_asked_for() {
        let mut room = Room::default();
        assert_eq!(room.take(changes(1, vec![said(2)]), Source::Bus), Taken::Lacks, "nobody was asked yet");
        let mut room = filled(2);
        assert_eq!(room.take(changes(2, vec![said(3)]), Source::Bus), Taken::New(vec![said(3)]));
        assert_eq!(room.take(changes(4, vec![said(5)]), Source::Bus), Taken::Lacks);
        assert_eq!(room.take(changes(0, vec![said(4)]), Source::Bus), Taken::Lacks, "control was started again");
        assert_eq!(room.head(), 3);
        // From a second control, which repeats what the first has said.
        assert_eq!(room.take(changes(1, vec![said(2), said(3), said(4)]), Source::Bus), Taken::New(vec![said(4)]));
        assert_eq!(room.take(changes(3, vec![said(4)]), Source::Bus), Taken::New(Vec::new()));
    }

    #[test]
    fn reader_gets_what_is_new_and_all_of_it_where_something_is_forgotten() {
        let mut room = filled(3);
        assert_eq!(room.since(Some(3)), Since { is_reset: false, messages: Vec::new() });
        room.take(changes(3, vec![deleted(1, 4)]), Source::Bus);
        assert_eq!(room.since(Some(3)), Since { is_reset: false, messages: vec![deleted(1, 4)] });
        assert_eq!(room.since(None), Since { is_reset: true, messages: vec![said(2), said(3)] });
        // Who is ahead of this node waits for it.
        assert_eq!(room.since(Some(9)), Since { is_reset: false, messages: Vec::new() });
        let many = u64::try_from(CHAT_HISTORY_MAX).unwrap() + 10;
        room.take(changes(4, (5..many).map(said).collect()), Source::Bus);
        assert_eq!(room.messages.len(), CHAT_HISTORY_MAX);
        assert!(room.since(Some(4)).is_reset && !room.since(Some(many - 50)).is_reset);
        // A message that is forgotten here may be on a screen that is away.
        room.take(changes(many - 1, vec![deleted(2, many)]), Source::Bus);
        assert!(room.since(Some(many - 1)).is_reset);
    }
}
