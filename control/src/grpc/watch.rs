//! `Catalogue.Watch`: what the metadata log says of a tenant's streams, entry by entry. What is missed is read from the disk, and so is what is
//! new: there is one way, so nothing can fall between two.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use catalogue::Tenant;
use metadata::{Body, EntrySequence, StreamSettings};
use node::problem::Type;
use replica::RowChange;
use tokio::sync::watch;

use super::listener::Source;
use super::v1::{Chat, LoggedStream, StreamChange, WatchResponse};
use crate::ControlState;
use crate::api::{LOOK_INTERVAL, Problem};

/// How long it waits for further entries after one, so that a busy log is not read by each call for each entry.
const GATHERED: Duration = Duration::from_millis(50);

/// The entries that a call has not had yet.
pub(super) struct Changes {
    tenant: Tenant,
    /// Newest entry that was looked at.
    position: EntrySequence,
    changes: watch::Receiver<()>,
    /// Whether the caller knows yet where it begins.
    is_begun: bool,
}

impl Changes {
    pub(super) fn after(shared: &ControlState, tenant: Tenant, after: Option<u64>) -> Self {
        // First the subscription: nothing is written unheard after it.
        let changes = shared.writer.log().changes();
        let position = after.map_or_else(|| shared.writer.place().sequence, EntrySequence);
        Self { tenant, position, changes, is_begun: false }
    }

    fn place(&self) -> WatchResponse {
        WatchResponse { sequence: self.position.0, ..WatchResponse::default() }
    }
}

impl Source for Changes {
    type Message = WatchResponse;

    async fn look(
        &mut self,
        shared: &Arc<ControlState>,
        messages: &mut VecDeque<WatchResponse>,
    ) -> Result<(), Problem> {
        loop {
            self.changes.mark_unchanged();
            let newest = shared.writer.place().sequence;
            if self.is_begun && self.position == newest {
                return Ok(());
            }
            let read = shared.writer.log().changes_after(self.position).await.map_err(|error| {
                tracing::error!(error = format!("{error:#}"), "the metadata log cannot be read");
                Problem::new(Type::Internal, "the metadata log cannot be read; the log of control says why")
            })?;
            let Some(entries) = read else {
                (self.position, self.is_begun) = (newest, true);
                messages.push_back(WatchResponse { reset: true, ..self.place() });
                return Ok(());
            };
            if !std::mem::replace(&mut self.is_begun, true) {
                messages.push_back(self.place());
            }
            let is_last = entries.is_empty();
            for entry in entries {
                self.position = entry.sequence;
                let changes: Vec<StreamChange> =
                    entry.rows.iter().filter_map(|row| change(row, &self.tenant)).collect();
                if !changes.is_empty() {
                    messages.push_back(WatchResponse { changes, ..self.place() });
                }
            }
            if is_last || !messages.is_empty() {
                return Ok(());
            }
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.changes.changed() => tokio::time::sleep(GATHERED).await,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }

    fn nothing(&self) -> WatchResponse {
        self.place()
    }
}

/// What a row's change means to a tenant; `None`: nothing.
fn change(row: &RowChange, tenant: &Tenant) -> Option<StreamChange> {
    let (before, after) = (stream(row.before.as_ref(), tenant), stream(row.after.as_ref(), tenant));
    let (kind, name) = match (before, after) {
        (None, None) => return None,
        (None, Some(made)) => ("created", &made.name),
        (Some(_), Some(now)) => ("updated", &now.name),
        (Some(gone), None) => ("deleted", &gone.name),
    };
    let key_rotated = before.zip(after).is_some_and(|(before, after)| before.key_macs != after.key_macs);
    let (was, stream) = (before.map(shown), after.map(shown));
    // Such as its pool, which is the operator's.
    if was == stream && !key_rotated {
        return None;
    }
    Some(StreamChange { kind: kind.to_owned(), name: name.to_string(), key_rotated, stream })
}

/// The stream of a row, if the tenant owns it.
fn stream<'b>(body: Option<&'b Body>, tenant: &Tenant) -> Option<&'b StreamSettings> {
    let Some(Body::Stream(stream)) = body else { return None };
    let is_own = stream.tenant.as_deref().map_or_else(|| tenant.is_default(), |slug| slug == tenant.slug);
    is_own.then_some(stream)
}

fn shown(stream: &StreamSettings) -> LoggedStream {
    let rules = stream.pages.chat;
    LoggedStream {
        name: stream.name.to_string(),
        title: stream.title.clone(),
        visibility: stream.visibility.name().to_owned(),
        origins: stream.pages.origins.clone(),
        embed: stream.pages.embed.name().to_owned(),
        chat: Some(Chat {
            on: rules.is_some(),
            slow_s: rules.map_or(0, |rules| u32::try_from(rules.slow_s).unwrap_or(u32::MAX)),
            writers: rules.map_or_else(Default::default, |rules| rules.writers).name().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use catalogue::{Id, Kind, Quota};
    use media::{Digest, UnixMillis};
    use metadata::{PageSettings, StreamKeyMac, Visibility};

    use super::*;

    fn tenant(slug: &str) -> Tenant {
        let id = if slug == "default" { Id::default_tenant() } else { Id::draw(Kind::Tenant, UnixMillis(1)) };
        let (slug, name) = (slug.to_owned(), String::new());
        Tenant { id, slug, name, is_suspended: false, quota: Quota::default(), version: 1, created_at: UnixMillis(0) }
    }

    fn row(name: &str, tenant: Option<&str>) -> StreamSettings {
        StreamSettings {
            name: name.parse().unwrap(),
            pool: "default".to_owned(),
            key_macs: vec![StreamKeyMac::OfStream(Digest([1; 32]))],
            visibility: Visibility::Public,
            title: String::new(),
            tenant: tenant.map(str::to_owned),
            pages: PageSettings::default(),
        }
    }

    fn told(before: Option<StreamSettings>, after: Option<StreamSettings>, slug: &str) -> Option<(String, bool)> {
        let row = RowChange { before: before.map(Body::Stream), after: after.map(Body::Stream) };
        change(&row, &tenant(slug)).map(|change| (change.kind, change.key_rotated))
    }

    #[test]
    fn tenant_is_told_of_its_own_streams_alone() {
        let (own, default) = (|| Some(row("acme.hall", Some("acme"))), || Some(row("hall", None)));
        let kind = |kind: &str| Some((kind.to_owned(), false));
        assert_eq!(told(None, own(), "acme"), kind("created"));
        assert_eq!(told(own(), None, "acme"), kind("deleted"));
        assert_eq!(told(None, default(), "default"), kind("created"));
        for (row, slug) in [(own(), "default"), (own(), "other"), (default(), "acme")] {
            assert_eq!(told(None, row.clone(), slug), None, "{slug}");
            assert_eq!(told(row, None, slug), None, "{slug}");
        }
    }

    #[test]
    fn change_says_whether_the_key_is_another_and_what_is_the_operators_is_none() {
        let own = || row("acme.hall", Some("acme"));
        let titled = StreamSettings { title: "Hall".to_owned(), ..own() };
        assert_eq!(told(Some(own()), Some(titled), "acme"), Some(("updated".to_owned(), false)));
        let rotated = StreamSettings { key_macs: vec![StreamKeyMac::OfStream(Digest([2; 32]))], ..own() };
        assert_eq!(told(Some(own()), Some(rotated), "acme"), Some(("updated".to_owned(), true)));
        let moved = StreamSettings { pool: "music".to_owned(), ..own() };
        assert_eq!(told(Some(own()), Some(moved), "acme"), None);
    }
}
