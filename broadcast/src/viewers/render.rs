//! Rendering of what takes long, off the threads that serve viewers: DVR playlists, and the list of streams.
//!
//! One rendering at a time on a node, so that whatever a client asks for costs one core at most. What is rendered is shared: DVR
//! playlists by all who ask at the same place in the log ([`gate::Playlists`]), and the list by all who ask while it is rendered, or
//! more often than it is.

use std::sync::Arc;
use std::time::Duration;

use gate::Rendered;
use node::clock::Clock;
use tokio::sync::{Mutex, Semaphore};

/// How often the list of streams is rendered for those who ask again and again; others get it as it is now.
const LIST_INTERVAL: Duration = Duration::from_millis(250);
/// How many renderings are saved up for those who ask now and then.
const LISTS_MAX: u32 = 8;

/// Renders apart from the reactor.
pub(super) struct Render {
    clock: Clock,
    turns: Arc<Semaphore>,
    list: Mutex<List>,
}

/// The list of streams as it was rendered last.
struct List {
    /// With the time at which its rendering began, and the entry of the metadata log that it reflects.
    text: Option<(Duration, (u64, Rendered))>,
    /// Renderings that are left.
    left: u32,
    /// Until when those that were left were counted.
    counted: Duration,
}

impl List {
    /// The text that a request which came at `asked` may share; `None` when it is to be rendered.
    fn shared(&mut self, asked: Duration, now: Duration) -> Option<(u64, Rendered)> {
        let intervals = now.saturating_sub(self.counted).as_millis() / LIST_INTERVAL.as_millis();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(intervals).min(LISTS_MAX);
        self.counted += LIST_INTERVAL.saturating_mul(intervals);
        let (began, text) = self.text.as_ref()?;
        (*began >= asked || self.left == 0).then(|| text.clone())
    }
}

impl Render {
    pub(super) fn new() -> Self {
        let list = Mutex::new(List { text: None, left: LISTS_MAX, counted: Duration::ZERO });
        Self { clock: Clock::new(), turns: Arc::new(Semaphore::new(1)), list }
    }

    /// Calls `render` on a thread that may take its time, in turn with others; `None` when it panicked. A call that nobody waits for any
    /// more keeps its turn until it returns.
    pub(super) async fn apart<T: Send + 'static>(&self, render: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let rendered = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            render()
        });
        rendered.await.ok()
    }

    /// The list of streams: rendered once for all who wait for it, and no more often than [`LIST_INTERVAL`] for long, unless it has to
    /// reflect a newer entry of the metadata log. With the entry that it reflects.
    pub(super) async fn list(
        &self,
        (wanted, here): (u64, u64),
        render: impl FnOnce() -> Rendered + Send + 'static,
    ) -> Option<(u64, Rendered)> {
        let asked = self.clock.elapsed();
        let mut list = self.list.lock().await;
        let now = self.clock.elapsed();
        if let Some(shared) = list.shared(asked, now).filter(|(sequence, _)| *sequence >= wanted) {
            return Some(shared);
        }
        let reflecting = (here, self.apart(render).await?);
        list.left = list.left.saturating_sub(1);
        list.text = Some((now, reflecting.clone()));
        Some(reflecting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_fresh_for_who_asks_now_and_then_and_shared_by_who_asks_all_the_time() {
        let at = Duration::from_millis;
        let mut list = List { text: Some((at(0), (0, Rendered::new("{}")))), left: LISTS_MAX, counted: at(0) };
        assert!(list.shared(at(0), at(5)).is_some(), "it came while the list was rendered");
        assert!(list.shared(at(1), at(5)).is_none());
        list.left = 0;
        assert!(list.shared(at(240), at(240)).is_some());
        assert!(list.shared(at(260), at(260)).is_none());
        list.left = 0;
        assert!(list.shared(at(490), at(490)).is_some());
        assert!(list.shared(at(3_600_000), at(3_600_000)).is_none());
        assert_eq!(list.left, LISTS_MAX);
    }
}
